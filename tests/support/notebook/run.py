"""Runs cells in a real IPython kernel, as Jupyter does: a JSON list of sources comes in, a list of their outputs goes
out. A cell that raises ends it, with the traceback on standard error."""

from __future__ import annotations

import json
import sys

import nbclient
import nbformat
from nbformat import v4

CELL_DEADLINE_S = 60

notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in json.load(sys.stdin)])
nbclient.NotebookClient(notebook, timeout=CELL_DEADLINE_S, kernel_name="python3").execute()
nbformat.validate(notebook)
json.dump([cell["outputs"] for cell in notebook["cells"]], sys.stdout)

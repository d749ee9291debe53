"""The `holdfast` command: thin, over the other packages' public functions.

`main` assembles and translates errors; `commands/` has one module per group of commands. Command modules
import click alone at the top: whatever costs time (pydantic, rich, HTTP) is imported inside the command that
needs it, so that `holdfast --help` stays under 100 ms.
"""

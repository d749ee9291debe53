"""The folder that `holdfast init` writes: every file's text. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SERVICE = '''"""What {name} serves. `holdfast serve {folder}` runs it here and starts anew at every change."""

from holdfast_runtime import Service


class {title}(Service):
    """Greets people. Replace this by your model."""

    def setup(self) -> None:
        """Runs once, before the first request: load the model here."""
        self.greeting = "Hello"

    def infer(self, name: str, times: int = 1) -> dict[str, str]:
        """Greet somebody.

        Parameters and answer are read from the annotations: plain types, pydantic models, bytes, File, Audio,
        PIL images. A generator streams; further public methods are routes of their own.
        """
        return {{"greeting": " ".join([f"{{self.greeting}}, {{name}}!"] * times)}}
'''

REQUIREMENTS = """\
# What the image installs. After a change, lock it (exact versions, with hashes):
#
#   uv pip compile requirements.in --generate-hashes --python-version 3.11 -o requirements.lock
#
# These four are what the service runs on.
pydantic>=2.10,<3
python-multipart>=0.0.18
starlette>=0.46
uvicorn>=0.34
# Yours:
"""

REQUEST = '{"name": "Ada", "times": 2}\n'

IGNORE = """\
__pycache__/
.venv/
.env
"""

README = """\
# {name}

| file | what |
|---|---|
| `service.py` | the service class: `setup` once, `infer` for every request |
| `requirements.in`, `requirements.lock` | what its image installs; the first says how to renew the second |
| `request.json` | a request to try it with |

```sh
holdfast serve {folder}        # here, on this machine
pulumi up               # build the image, push it, and have the endpoint
holdfast infer {name} -d @{folder}/request.json
```

The endpoint, in the stack code:

```python
{stack}
```
"""


def files(name: str, folder: Path, stack: str, lock: str) -> Mapping[str, str]:
    """Each file's text by its name. `stack`: the code that declares the endpoint; `lock`: the runtime's own lock."""
    title = "".join(part.capitalize() for part in name.split("-"))
    words = {"name": name, "folder": folder.as_posix(), "title": title, "stack": stack.rstrip()}
    return {
        "service.py": SERVICE.format(**words),
        "requirements.in": REQUIREMENTS,
        "requirements.lock": lock,
        "request.json": REQUEST,
        ".gitignore": IGNORE,
        "README.md": README.format(**words),
    }

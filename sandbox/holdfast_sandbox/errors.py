"""What stops the sandbox, told so that one knows what to do next."""

from __future__ import annotations


class SandboxError(Exception):
    """Something that a person has to mend. The text says what and how; shown without a traceback."""

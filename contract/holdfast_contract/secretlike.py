"""What looks like a secret in plain text: one opinion for declarations and policies. Standard library only."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|APIKEY|API_KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIALS?)$",
    re.IGNORECASE,
)
_VALUE: Final = re.compile(
    r"AKIA[0-9A-Z]{16}"  # AWS access key id
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:ghp|gho|ghs|github_pat|glpat|xox[abprs])[_-][A-Za-z0-9_-]{16,}"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bhf_[A-Za-z0-9_]{20,}"
    r"|://[^/\s:@]*:[^/\s:@]+@"  # user:password inside a URL; a broker's or cache's has often no user
)

_PATH: Final = re.compile(r"(/[A-Za-z0-9._-]+){2,}")
"""A file, as in GOOGLE_APPLICATION_CREDENTIALS=/etc/gcp/key.json: it says where a secret is, not what it is."""


def looks_secret(name: str, value: str) -> bool:
    """Whether a setting's name or value looks like a secret. An empty value and a file's path never do."""
    named = _NAME.search(name) and not _PATH.fullmatch(value)
    return bool(value) and bool(named or _VALUE.search(value))


def holds_secret(text: str) -> bool:
    """Whether a text has a known form of secret in it, whatever it is called."""
    return bool(_VALUE.search(text))

"""How commands reach the gateway: the Python client, its settings, and its errors as exit codes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit

if TYPE_CHECKING:
    from holdfast_client import APIError, APIStatusError, Client, Progress

F = TypeVar("F", bound=Callable[..., Any])
OnProgress = Callable[["Progress"], None]


@dataclass(frozen=True)
class Connection:
    """What the connection options say."""

    url: str | None
    token_file: Path | None

    @contextmanager
    def client(
        self, *, timeout_s: float | None = 600.0, max_retries: int = 2, on_progress: OnProgress | None = None
    ) -> Iterator[Client]:
        """A client for one command; errors leave as CommandError."""
        with told_plainly():
            from holdfast_client import Client, read_token_file

            token = read_token_file(self.token_file) if self.token_file else None
            with Client(
                self.url, token, timeout=timeout_s, max_retries=max_retries, on_progress=on_progress
            ) as client:
                yield client


def connected(command: F) -> F:
    """Give a command the options that say where the gateway is and with which token; it gets a `connection`."""

    @click.option(
        "--url", metavar="URL", help="The gateway; default: HOLDFAST_URL, or `url` in the config file."
    )
    @click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File that holds the token; default: HOLDFAST_TOKEN, HOLDFAST_TOKEN_FILE, or the config file.",
    )
    @functools.wraps(command)
    def with_connection(url: str | None, token_file: Path | None, **rest: Any) -> Any:
        return command(connection=Connection(url, token_file), **rest)

    return with_connection  # type: ignore[return-value]  # the options change what click sees, not the callable


@contextmanager
def told_plainly() -> Iterator[None]:
    """The client's errors, as a message, a remedy and an exit code."""
    import holdfast_client as sdk

    try:
        yield
    except sdk.ConfigurationError as error:
        remedy = "or pass --url or --token-file; `holdfast sandbox env` sets both for a sandbox"
        raise CommandError(str(error), remedy, Exit.USAGE) from error
    except sdk.MediaError as error:
        raise CommandError(str(error), exit_code=Exit.USAGE) from error
    except sdk.APIError as error:
        raise translated(error) from error


def translated(error: APIError) -> CommandError:
    """What an error of a call means at the terminal."""
    import holdfast_client as sdk

    if isinstance(error, sdk.APIStatusError):
        return _of_status(error)
    if isinstance(error, sdk.APITimeoutError):
        return CommandError(str(error), _more_time(), Exit.TIMEOUT)
    if isinstance(error, sdk.StreamBrokenError):
        return CommandError(str(error), exit_code=Exit.FAILED)
    if isinstance(error, sdk.APIConnectionError):
        return CommandError(
            str(error), "`holdfast sandbox status` says whether a sandbox runs", Exit.UNREACHABLE
        )
    if isinstance(error, sdk.JobCanceledError):
        return CommandError(str(error), exit_code=Exit.CANCELED)
    if isinstance(error, sdk.JobExpiredError):
        return CommandError(str(error), exit_code=Exit.TIMEOUT)
    return CommandError(str(error), exit_code=Exit.FAILED)


def _more_time() -> str:
    """What to do about a timeout: most commands have one that nobody chooses."""
    context = click.get_current_context(silent=True)
    options = context.command.params if context else []
    if any("--timeout" in option.opts for option in options):
        return "--timeout SECONDS allows more"
    return "try again; if it stays so, look how the gateway does"


def _of_status(error: APIStatusError) -> CommandError:
    if error.from_model:
        return CommandError(str(error), "see what the endpoint's README says of its input", Exit.MODEL)
    codes = {
        401: Exit.NOT_ALLOWED,
        403: Exit.NOT_ALLOWED,
        404: Exit.NOT_FOUND,
        429: Exit.BUSY,
        503: Exit.BUSY,
        504: Exit.TIMEOUT,
    }
    code = codes.get(error.status_code, Exit.REFUSED if error.status_code < 500 else Exit.FAILED)
    problem = error.problem
    named = f" (request {error.request_id})" if error.request_id else ""
    message = (
        f"{error.status_code} {problem.slug or problem.title}: {problem.detail.rstrip('.') or problem.title}"
    )
    if error.retry_after_s is not None:
        named += f"; it may work in {error.retry_after_s:.0f} s"
    return CommandError(f"{message}{named}", problem.remedy, code)


class Spinner:
    """Says on a terminal's standard error what a call is doing; says nothing elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._status: Any = None

    def __enter__(self) -> Spinner:
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status(f"{self._what} …", spinner="dots")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def tell(self, progress: Progress) -> None:
        """A progress callback."""
        if self._status is None:
            return
        from rich.markup import escape

        self._status.update(f"{self._what}: {escape(describe(progress))}")


def describe(progress: Progress) -> str:
    """A progress, in a few words."""
    from holdfast_client import Phase

    match progress.phase:
        case Phase.SENDING:
            return "waiting for the answer" if progress.attempt == 1 else f"attempt {progress.attempt}"
        case Phase.RETRYING:
            return f"again in {progress.delay_s:.1f} s: {progress.detail}"
        case Phase.RECEIVING:
            total = f" of {progress.total_bytes:,}" if progress.total_bytes else ""
            return f"{progress.received_bytes:,}{total} bytes"
        case Phase.QUEUED:
            place = f", {progress.queue_position} before it" if progress.queue_position is not None else ""
            return f"queued{place}"
        case Phase.RUNNING:
            return f"running, attempt {progress.attempt}"
        case _:
            return "done"

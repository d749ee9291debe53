"""`holdfast infer`, `submit`, `result` and `cancel`: requests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast_cli import answers, inputs
from holdfast_cli.connect import Connection, Spinner, connected
from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.output import note, print_json

if TYPE_CHECKING:
    from holdfast_client import Client, JobStatus, Stream

F = TypeVar("F", bound=Callable[..., Any])


def _request_options(command: F) -> F:
    """What `infer` and `submit` have in common."""
    for option in reversed(
        (
            click.argument("name"),
            click.argument("route", required=False),
            click.option(
                "-d", "--data", metavar="JSON|@FILE", help="The body: JSON, or a file as it is; @- is stdin."
            ),
            click.option(
                "-F",
                "--field",
                "fields",
                multiple=True,
                metavar="NAME=VALUE|NAME=@FILE|FILE",
                help="A field or file of a form; may be repeated.",
            ),
            click.option(
                "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header."
            ),
            click.option("-X", "--method", default="POST", show_default=True, help="The HTTP method."),
            click.option("--key", metavar="KEY", help="Idempotency key: the same key runs once."),
        )
    ):
        command = option(command)
    return command


_timeout = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="For the whole call, retries included.",
)


def _can_be_written(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """Asked before anything is sent: an answer that cannot be kept would have to be paid for again."""
    if path is None or str(path) == "-" or path.exists() or os.access(path.parent, os.W_OK):
        return path
    raise CommandError(
        f"--output {path} cannot be written; nothing was sent",
        "name a file in a folder that exists and that you may write to",
        Exit.USAGE,
    )


_output = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    callback=_can_be_written,
    help="Write the answer to a file; - is stdout.",
)


@click.command()
@_request_options
@_timeout
@_output
@click.option("--stream", "streamed", is_flag=True, help="Print the answer as it comes; of events, the data.")
@click.option("--timings", is_flag=True, help="Say where the time went, on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Answer, timings and request id as one JSON object.")
@click.option(
    "--retries", type=click.IntRange(min=0), default=2, show_default=True, help="At most this many."
)
@connected
def infer(
    connection: Connection,
    name: str,
    route: str | None,
    data: str | None,
    fields: tuple[str, ...],
    headers: tuple[str, ...],
    method: str,
    key: str | None,
    timeout_s: float,
    output: Path | None,
    streamed: bool,
    timings: bool,
    as_json: bool,
    retries: int,
) -> None:
    """Ask the endpoint NAME and wait for its answer.

    One at 0 replicas wakes up first.

    \b
    ROUTE is the container's own, for instance v1/chat/completions; without it, the input route of the
    endpoint's template, or /.
        holdfast infer receipts -d @receipt.png
        holdfast infer receipts ocr -F image=@receipt.png --timings
        holdfast infer chat v1/chat/completions -d '{"messages": […], "stream": true}' --stream
    """
    if streamed and as_json:
        raise CommandError("--stream and --json exclude each other", "leave one out", Exit.USAGE)
    sent = inputs_of(data, fields, headers)
    with (
        Spinner(name) as spinner,
        connection.client(timeout_s=timeout_s, max_retries=retries, on_progress=spinner.tell) as client,
    ):
        request = _request(client, name, route, sent, method, key)
        if streamed:
            with client.stream(**request) as stream:
                spinner.__exit__()
                _show_stream(stream, output)
                spent = stream.timings, stream.request_id
        else:
            answer = client.infer(**request)
            spent = answer.timings, answer.request_id
    if not streamed:
        answers.show(answer, output=output, as_json=as_json)
    if timings:
        answers.show_timings(*spent)


@click.command()
@_request_options
@click.option("--webhook-url", metavar="URL", help="Told when the request ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@connected
def submit(
    connection: Connection,
    name: str,
    route: str | None,
    data: str | None,
    fields: tuple[str, ...],
    headers: tuple[str, ...],
    method: str,
    key: str | None,
    webhook_url: str | None,
    as_json: bool,
) -> None:
    """Leave a request for the endpoint NAME, to fetch later.

    Prints its id. ROUTE and body as for infer.
    """
    sent = inputs_of(data, fields, headers)
    with connection.client(timeout_s=60) as client:
        job = client.submit(**_request(client, name, route, sent, method, key), webhook_url=webhook_url)
    if as_json:
        print_json({"id": job.id, "endpoint": name})
        return
    click.echo(job.id)
    note(f"the answer is kept for 24 hours: holdfast result {job.id}")


@click.command()
@click.argument("request_id", metavar="ID")
@click.option("--endpoint", metavar="NAME", help="Chooses this endpoint's token from the config file.")
@click.option("--status", "status_only", is_flag=True, help="Only say where it stands; do not wait.")
@_timeout
@_output
@click.option("--timings", is_flag=True, help="Say where the time went, on standard error.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@connected
def result(
    connection: Connection,
    request_id: str,
    endpoint: str | None,
    status_only: bool,
    timeout_s: float,
    output: Path | None,
    timings: bool,
    as_json: bool,
) -> None:
    """Wait for the submitted request ID and print its answer."""
    if status_only:
        with connection.client(timeout_s=30) as client:
            _show_status(client.job(request_id, endpoint).status(), as_json)
        return
    with (
        Spinner(request_id) as spinner,
        connection.client(timeout_s=timeout_s, on_progress=spinner.tell) as client,
    ):
        answer = client.job(request_id, endpoint).result()
    answers.show(answer, output=output, as_json=as_json)
    if timings:
        answers.show_timings(answer.timings, answer.request_id)


@click.command()
@click.argument("request_id", metavar="ID")
@click.option("--endpoint", metavar="NAME", help="Chooses this endpoint's token from the config file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@connected
def cancel(connection: Connection, request_id: str, endpoint: str | None, as_json: bool) -> None:
    """Withdraw the submitted request ID.

    One that waits is not run, one that runs is stopped, one that ended stays as it is.
    """
    with connection.client(timeout_s=30) as client:
        _show_status(client.job(request_id, endpoint).cancel(), as_json)


def inputs_of(data: str | None, fields: tuple[str, ...], headers: tuple[str, ...]) -> inputs.Sent:
    """The body and headers; what cannot be read is a mistake on the command line."""
    from holdfast_cli.connect import told_plainly

    with told_plainly():
        return inputs.read(data, fields, headers)


def _request(
    client: Client, name: str, route: str | None, sent: inputs.Sent, method: str, key: str | None
) -> dict[str, Any]:
    return {
        "endpoint": name,
        "input": sent.input,
        "route": _input_route(client, name) if route is None else route,
        "method": method,
        "files": sent.files,
        "form": sent.form,
        "headers": sent.headers,
        "idempotency_key": key,
    }


def _input_route(client: Client, name: str) -> str:
    """Where the endpoint's template takes its input; `/` for an endpoint without one."""
    template = client.with_options(timeout=10, on_progress=None).endpoint(name).template
    if template is None:
        return "/"
    from pulumi_holdfast.spec.template import catalogue

    found = catalogue().find(template)
    return found.input_path if found else "/"


def _show_stream(stream: Stream, output: Path | None) -> None:
    """As it comes: to the file or pipe as it is; on a terminal of an event stream the data alone."""
    if output is not None and str(output) != "-":
        with output.open("wb") as file:
            for chunk in stream.iter_bytes():
                file.write(chunk)
        note(f"saved to {output}")
        return
    if "text/event-stream" in stream.headers.get("content-type", ""):
        for event in stream.events():
            click.echo(event.data)
            sys.stdout.flush()
        return
    for chunk in stream.iter_bytes():
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _show_status(status: JobStatus, as_json: bool) -> None:
    if as_json:
        print_json(status.raw)
        return
    place = f", {status.queue_position} before it" if status.queue_position is not None else ""
    click.echo(f"{status.state}{place}" + (f": {status.error}" if status.error else ""))

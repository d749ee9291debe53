"""What holds for the command as a whole: quick start, errors that help, exit codes, clean output."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from holdfast_cli import main as command
from holdfast_cli.errors import CommandError
from holdfast_cli.exits import MEANINGS, Exit

HOLDFAST = Path(sys.executable).parent / "holdfast"
HEAVY = (
    "pydantic",
    "rich",
    "httpx2",
    "holdfast_client",
    "holdfast_sandbox",
    "holdfast_contract",
    "yaml",
    "boto3",
)


def _cpu_s(*words: str | Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_starts_within_ten_times_of_a_bare_interpreter() -> None:
    """Processor time, and the best of several, so that a loaded machine does not decide; 12 and 65 ms idle."""
    pairs = [(_cpu_s(sys.executable, "-c", "pass"), _cpu_s(HOLDFAST, "--help")) for _ in range(7)]
    bare, helped = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    assert helped < 10 * bare, (
        f"--help took {helped * 1000:.0f} ms of processor time, python itself {bare * 1000:.0f} ms"
    )


def test_help_imports_nothing_that_costs_time() -> None:
    program = (
        "import sys, holdfast_cli.main as m; m.main(['--help']);"
        f"print('loaded:', [n for n in {HEAVY!r} if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "loaded: []"


def test_every_exit_code_has_a_meaning_and_stands_in_the_help() -> None:
    assert set(MEANINGS) == set(Exit)
    shown = CliRunner().invoke(command.cli, ["--help"]).output
    assert all(re.search(rf"^\s+{code.value}  \S", shown, re.MULTILINE) for code in Exit)


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, one in group.commands.items():
        found.append(((*path, name), one))
        if isinstance(one, click.Group):
            found += _commands(one, (*path, name))
    return found


@pytest.mark.parametrize("path", [path for path, _ in _commands(command.cli)], ids=" ".join)
def test_every_command_explains_itself_and_its_options(path: tuple[str, ...]) -> None:
    one = dict(_commands(command.cli))[path]
    assert one.help
    undocumented = [p.name for p in one.params if isinstance(p, click.Option) and not p.help]
    assert undocumented == []
    assert CliRunner().invoke(command.cli, [*path, "--help"]).exit_code == 0


def test_no_option_takes_a_secret() -> None:
    """Arguments are visible to every user of the machine in the list of processes."""
    options = {name for _, one in _commands(command.cli) for param in one.params for name in param.opts}
    assert options & {"--token", "--password", "--secret", "--api-key"} == set()


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setitem(command.cli.commands, "broken", broken)


def test_an_error_says_what_is_wrong_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(monkeypatch, CommandError("the lamp is out", "light it", Exit.BUSY))
    assert command.main(["broken"]) == Exit.BUSY
    assert capsys.readouterr() == ("", "error: the lamp is out\n  next: light it\n")


def test_an_unexpected_error_is_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(monkeypatch, ZeroDivisionError("oh"))
    assert command.main(["broken"]) == Exit.FAILED
    shown = capsys.readouterr().err
    assert shown.startswith("error: unexpected ZeroDivisionError: oh\n")
    assert "Traceback" not in shown


def test_a_file_that_cannot_be_used_is_named_and_no_fault_of_holdfast(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(monkeypatch, PermissionError(13, "Permission denied", "stacks/endpoints.py"))
    assert command.main(["broken"]) == Exit.FAILED
    assert capsys.readouterr() == (
        "",
        "error: stacks/endpoints.py: Permission denied\n"
        "  next: check that the path is what you mean, and that you may read and write there\n",
    )


def test_a_wrong_command_line_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["no-such-thing"]) == Exit.USAGE
    assert "No such command 'no-such-thing'" in capsys.readouterr().err


def test_an_interrupt_is_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(monkeypatch, KeyboardInterrupt())
    assert command.main(["broken"]) == Exit.INTERRUPTED


def test_a_new_token_is_alone_on_standard_output_and_its_declaration_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["token", "new", "--id", "acme"]) == Exit.OK
    shown = capsys.readouterr()
    assert re.fullmatch(r"hf_acme_[A-Za-z0-9_-]{43}\n", shown.out)
    assert re.search(r'"tokens": \["sha256:acme:[0-9a-f]{64}"\]', shown.err)
    assert shown.out.strip() not in shown.err


def test_a_token_and_its_hash_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["token", "new", "--json"]) == Exit.OK
    made = json.loads(capsys.readouterr().out)
    hashed = CliRunner().invoke(command.cli, ["token", "hash"], input=made["token"] + "\n")
    assert hashed.output.strip() == made["declare"]


def test_a_token_id_of_the_wrong_shape_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["token", "new", "--id", "UP"]) == Exit.USAGE
    assert (
        capsys.readouterr().err
        == "error: token id 'UP' is not 4 to 16 lower-case letters and digits: choose another\n"
    )


def test_what_is_not_a_token_is_not_repeated_in_the_error() -> None:
    done = subprocess.run(
        [HOLDFAST, "token", "hash"], input="hf_acme_tooshort", capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.USAGE
    assert done.stderr == (
        "error: standard input is not a token: expected hf_<id>_<43 characters>, "
        "as `holdfast token new` prints\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_the_command(shell: str) -> None:
    assert "_HOLDFAST_COMPLETE" in CliRunner().invoke(command.cli, ["completion", shell]).output


def test_a_reader_that_left_is_no_failure_and_nobody_is_told() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "holdfast_cli.main", "completion", "fish"],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (Exit.OK, b"")

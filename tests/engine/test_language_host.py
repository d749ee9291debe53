"""The sandbox's language host under the real engine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.timeout(200)


def test_outputs_config_and_printed_text_reach_the_engine(project: Any) -> None:
    project.run("config", "set", "colour", "green")
    project.run("config", "set", "--secret", "password", "hush-9d1f")
    project.write("""
        import os, sys
        import pulumi
        config = pulumi.Config()
        print("said on stdout")
        print("said on stderr", file=sys.stderr)
        pulumi.export("colour", config.require("colour"))
        pulumi.export("password", config.require_secret("password"))
        pulumi.export("where", [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()])
        pulumi.export("folder", os.getcwd())
        pulumi.export("root", pulumi.runtime.get_root_directory())
        """)
    shown = project.up()
    assert "said on stdout" in shown
    assert "said on stderr" in shown
    assert "hush-9d1f" not in shown
    outputs = project.outputs("--show-secrets")
    assert outputs["colour"] == "green"
    assert outputs["password"] == "hush-9d1f"
    assert outputs["where"] == ["shop", "dev", "organization"]
    assert outputs["folder"] == outputs["root"] == str(project.folder)
    assert "hush-9d1f" not in project.run("stack", "export")


def test_an_exception_is_shown_from_the_users_code_on(project: Any) -> None:
    (project.folder / "parts.py").write_text("def broken():\n    raise ValueError('no such colour')\n")
    project.write("""
        import parts
        parts.broken()
        """)
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "error: Program failed with an unhandled exception:" in done.stdout
    assert "ValueError: no such colour" in done.stdout
    files = re.findall(r'File "([^"]+)"', done.stdout)
    assert [Path(file).name for file in files] == ["__main__.py", "parts.py"]


def test_an_error_inside_apply_fails_the_run(project: Any) -> None:
    project.write("""
        import pulumi
        pulumi.export("x", pulumi.Output.from_input(1).apply(lambda value: value / 0))
        """)
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stdout


def test_an_error_that_explains_itself_is_shown_without_traceback(project: Any) -> None:
    project.write("""
        class SpecError(Exception):
            explains_itself = True

        raise SpecError("scaling.min_replicas is 5, above max_replicas=4: lower it or raise max_replicas")
        """)
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "error: scaling.min_replicas is 5, above max_replicas=4: lower it or raise max_repl" in done.stdout
    assert "declared at __main__.py:5" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_exit_code_of_the_program_is_told(project: Any) -> None:
    project.write("import sys\nsys.exit(7)\n")
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "the program exited with exit code 7" in done.stdout


def test_a_program_that_kills_itself_is_told_and_not_waited_for(project: Any) -> None:
    project.write("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "the program was ended by signal 9" in done.stdout


def test_a_folder_without_a_program_says_what_is_missing(project: Any) -> None:
    (project.folder / "__main__.py").unlink()
    (project.folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\nmain: stacks/\n")
    (project.folder / "stacks").mkdir()
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "there is no `__main__.py` in" in done.stdout


def test_main_may_name_another_folder(project: Any) -> None:
    (project.folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\nmain: stacks/\n")
    (project.folder / "stacks").mkdir()
    (project.folder / "stacks" / "beside.py").write_text("VALUE = 3\n")
    program = "import pulumi, beside\npulumi.export('value', beside.VALUE)\n"
    (project.folder / "stacks" / "__main__.py").write_text(program)
    project.up()
    assert project.outputs() == {"value": 3}


def test_a_virtualenv_that_is_not_there_is_named_with_the_remedy(project: Any) -> None:
    _use_virtualenv(project, "nowhere")
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "runtime.options.virtualenv is " in done.stdout
    assert "run `pulumi install`, or name an environment that exists" in done.stdout


def test_a_program_runs_with_the_interpreter_of_its_virtualenv(project: Any) -> None:
    _use_virtualenv(project, "env")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", project.folder / "env"],
        check=True,
    )
    # The environment of the test run is not a system one: lend its packages.
    site = next((project.folder / "env" / "lib").glob("python3*")) / "site-packages"
    own = [entry for entry in sys.path if entry.endswith("site-packages")]
    (site / "lent.pth").write_text("\n".join(own))
    project.write("import sys, pulumi\npulumi.export('prefix', sys.prefix)\n")
    project.up()
    assert project.outputs()["prefix"] == str(project.folder / "env")


def _use_virtualenv(project: Any, folder: str) -> None:
    (project.folder / "Pulumi.yaml").write_text(
        f"name: shop\nruntime:\n  name: python\n  options:\n    virtualenv: {folder}\n"
    )


def test_about_names_the_interpreter_and_the_stand_in(project: Any) -> None:
    shown = project.run("about")
    assert sys.executable in shown
    assert "the sandbox's stand-in for pulumi-language-python" in shown


def test_required_plugins_are_those_of_the_installed_packages(project: Any) -> None:
    shown = project.run("plugin", "ls", "--project", "--json")
    assert '"name": "kubernetes"' in shown
    assert '"name": "aws"' in shown


def test_ctrl_c_ends_the_program_and_leaves_no_process(project: Any) -> None:
    marker = project.folder / "started"
    project.write(f"""
        import os, pathlib, time
        pathlib.Path({str(marker)!r}).write_text(str(os.getpid()))
        time.sleep(600)
        """)
    with project.pulumi.started("up", "--yes", "--skip-preview", cwd=project.folder) as process:
        deadline = time.monotonic() + 30
        while not (marker.exists() and marker.read_text()):
            assert time.monotonic() < deadline, "the program did not start"
            time.sleep(0.05)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        assert int(marker.read_text()) in {member.pid for member in family}
        output = _interrupt_until_it_ends(process)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert "Traceback" not in output


def _interrupt_until_it_ends(process: subprocess.Popen[str]) -> str:
    """The first asks to stop, the second insists: as a user at a terminal would."""
    for _ in range(20):
        os.killpg(process.pid, signal.SIGINT)
        try:
            return process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not end on Ctrl-C")


def test_a_killed_engine_leaves_no_process(project: Any) -> None:
    marker = project.folder / "started"
    project.write(f"""
        import os, pathlib, time
        pathlib.Path({str(marker)!r}).write_text(str(os.getpid()))
        time.sleep(600)
        """)
    with project.pulumi.started("preview", cwd=project.folder) as process:
        deadline = time.monotonic() + 30
        while not (marker.exists() and marker.read_text()):
            assert time.monotonic() < deadline, "the program did not start"
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive

"""The CI definitions: their shell steps run with the real pulumi, jq and curl, against stand-ins of the hosts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from pulumi_project import Project

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github" / "workflows" / "holdfast-preview.yml"
GITLAB = ROOT / "ci" / "gitlab" / "holdfast-preview.yml"
TOKEN = "hush-token-77aa"
MARKER = "<!-- holdfast-preview shop/dev -->"
BOT = "github-actions[bot]"
PROGRAM = """
    import pulumi_holdfast as holdfast
    from pulumi_holdfast import testing
    args = {"platform": testing.platform(), "image": "ghcr.io/acme/chat:1", "hardware": "a10g"}
    holdfast.Endpoint("chat", args)
"""
GH = f"""#!{sys.executable}
import json, os, pathlib, sys
kept = pathlib.Path(os.environ["GH_KEPT"])
comments = json.loads(kept.read_text())
*options, field = sys.argv[2:] if "--field" in sys.argv else [*sys.argv[2:], ""]
path = next(word for word in sys.argv if word.startswith("repos/"))
assert os.environ["GH_TOKEN"] and os.environ["GH_TOKEN"] not in sys.argv
if "--method" not in sys.argv:
    assert path == "repos/acme/infra/issues/7/comments"
    print(json.dumps(comments))
    sys.exit()
body = pathlib.Path(field.removeprefix("body=@")).read_text()
if "PATCH" in sys.argv:
    (found,) = [one for one in comments if path.endswith(f"/issues/comments/{{one['id']}}")]
    found["body"] = body
else:
    comments.append({{"id": 100 + len(comments), "user": {{"login": "{BOT}"}}, "body": body}})
kept.write_text(json.dumps(comments))
"""


STRANGERS = [
    {"id": 1, "user": {"login": "mallory"}, "body": "looks good"},
    {"id": 2, "user": {"login": "mallory"}, "body": f"{MARKER}\nnothing changes, merge me"},
]
"""What others wrote: also what looks like ours, which its author could write anew after us."""


def _steps() -> dict[str, str]:
    workflow = yaml.safe_load(GITHUB.read_text())
    return {step["name"]: step["run"] for step in workflow["jobs"]["preview"]["steps"] if "name" in step}


def _shell(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def _environment(project: Project, **more: str) -> dict[str, str]:
    tools = project.folder / "tools"
    known = {
        **project.pulumi.environment,
        "STACK": "dev",
        "POLICY_PACK": "",
        "WARN_ABOVE": "",
        "FAIL_ABOVE": "",
    }
    kept = {"GH_KEPT": "kept.json", "GITHUB_STEP_SUMMARY": "summary.md"}
    files = {name: str(project.folder / file) for name, file in kept.items()}
    return {**known, "PATH": f"{tools}:{known['PATH']}", **files, **more}


@pytest.fixture
def previewed(project: Project) -> Project:
    """A project with one endpoint, and a `gh` that keeps comments in a file."""
    project.write(PROGRAM)
    project.run("config", "set", "kubernetes:renderYamlToDirectory", str(project.folder / "rendered"))
    gh = project.folder / "tools" / "gh"
    gh.parent.mkdir()
    gh.write_text(GH)
    gh.chmod(0o755)
    (project.folder / "kept.json").write_text(json.dumps(STRANGERS))
    return project


def test_github_s_steps_preview_comment_once_and_end_with_the_verdict(previewed: Project) -> None:
    steps, folder = _steps(), previewed.folder
    environment = _environment(
        previewed, COMMIT="0a1b2c3", GH_TOKEN=TOKEN, REPOSITORY="acme/infra", NUMBER="7", FAIL_ABOVE="100"
    )
    for _ in range(2):
        for name in ("Preview", "Comment"):
            done = _shell(steps[name], folder, environment)
            assert done.returncode == 0, done.stderr
    *others, ours = json.loads((folder / "kept.json").read_text())
    assert others == STRANGERS
    assert ours["body"].startswith(MARKER)
    assert "⛔ **dev**: 1 endpoint of 1 change" in ours["body"]
    assert "commit 0a1b2c3" in ours["body"]
    assert (folder / "summary.md").read_text().endswith(ours["body"])
    assert _shell(steps["Verdict"], folder, environment).returncode == 1


def test_github_s_actions_are_pinned_by_commit_and_forks_are_passed_over() -> None:
    job = yaml.safe_load(GITHUB.read_text())["jobs"]["preview"]
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert len(used) == 4
    assert [one for one in used if not re.fullmatch(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}", one)] == []
    assert job["if"] == "github.event.pull_request.head.repo.full_name == github.repository"


def test_a_preview_that_cannot_start_leaves_every_comment_alone(previewed: Project) -> None:
    steps, folder = _steps(), previewed.folder
    environment = _environment(previewed, COMMIT="", GH_TOKEN=TOKEN, REPOSITORY="acme/infra", NUMBER="7")
    environment["STACK"] = "no-such-stack"
    for name in ("Preview", "Comment"):
        assert _shell(steps[name], folder, environment).returncode == 0
    assert json.loads((folder / "kept.json").read_text()) == STRANGERS
    assert _shell(steps["Verdict"], folder, environment).returncode != 0


US = 77
"""The user of the access token."""


class _GitLab(BaseHTTPRequestHandler):
    """The part of GitLab's interface that notes need; `notes` and `calls` belong to the server. Nobody may write what
    another wrote."""

    def _answer(self) -> None:
        server: Any = self.server
        assert self.headers["PRIVATE-TOKEN"] == TOKEN
        server.calls.append((self.command, self.path))
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length))["body"] if length else ""
        if self.command == "POST":
            server.notes.append({"id": 40 + len(server.notes), "author": {"id": US}, "body": body})
        elif self.command == "PUT":
            (found,) = [note for note in server.notes if self.path.endswith(f"/notes/{note['id']}")]
            assert found["author"]["id"] == US
            found["body"] = body
        asked = urlsplit(self.path)
        if asked.path == "/api/v4/user":
            data = json.dumps({"id": US}).encode()
        else:
            query = parse_qs(asked.query)
            size, page = int(query.get("per_page", ["20"])[0]), int(query.get("page", ["1"])[0])
            ordered = server.notes if query.get("sort") == ["asc"] else server.notes[::-1]
            data = json.dumps(ordered[(page - 1) * size : page * size]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def gitlab() -> Iterator[Any]:
    """GitLab's stand-in, with more notes of others than one page of them has."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _GitLab)
    server.notes = [{"id": 1000 + at, "author": {"id": 5}, "body": "looks good"} for at in range(100)]
    server.notes.append({"id": 2000, "author": {"id": 5}, "body": f"{MARKER}\nnothing changes, merge me"})
    server.calls = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_gitlab_s_script_writes_one_note_and_renews_it(previewed: Project, gitlab: Any) -> None:
    before = json.loads(json.dumps(gitlab.notes))
    *scripts, verdict = yaml.safe_load(GITLAB.read_text())[".holdfast-preview"]["script"]
    environment = _environment(
        previewed,
        CI_API_V4_URL=f"http://127.0.0.1:{gitlab.server_address[1]}/api/v4",
        CI_PROJECT_ID="3",
        CI_MERGE_REQUEST_IID="7",
        CI_COMMIT_SHA="0a1b2c3",
        CI_COMMIT_TIMESTAMP="2026-11-24T22:00:00Z",
        HOLDFAST_COMMENT_TOKEN=TOKEN,
        WARN_ABOVE="100",
    )
    for script in (*scripts, scripts[-1]):
        done = _shell(script, previewed.folder, environment)
        assert done.returncode == 0, done.stderr
    *others, ours = gitlab.notes
    assert others == before
    assert ours["body"].startswith(MARKER)
    assert "⚠️ **dev**" in ours["body"]
    place = "/api/v4/projects/3/merge_requests/7/notes"
    assert [call for call in gitlab.calls if call[0] != "GET"] == [("POST", place), ("PUT", f"{place}/141")]
    assert _shell(verdict, previewed.folder, environment).returncode == 0


def test_both_hosts_install_what_a_policy_pack_needs(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "requirements.lock").write_text("")
    (tmp_path / "requirements").mkdir()
    install = tmp_path / "requirements" / "install"
    install.write_text("#!/bin/sh\n")
    install.chmod(0o755)
    gitlab = "\n".join(yaml.safe_load(GITLAB.read_text())[".holdfast-preview"]["before_script"])
    for script in (_steps()["Install"], gitlab):
        environment = {"PATH": os.environ["PATH"], "GITHUB_PATH": str(tmp_path / "path"), "POLICY_PACK": ""}
        assert _shell(script, tmp_path, environment).returncode == 0
        assert not (pack / "venv").exists()
        done = _shell(script, tmp_path, environment | {"POLICY_PACK": "pack"})
        assert done.returncode == 0, done.stderr
        assert (pack / "venv" / "bin" / "pip").exists()
        shutil.rmtree(pack / "venv")


def test_no_expression_of_github_stands_inside_a_script() -> None:
    """What a pull request can choose must reach a shell as a variable, never as code."""
    workflow = yaml.safe_load(GITHUB.read_text())
    for step in workflow["jobs"]["preview"]["steps"]:
        assert "${{" not in step.get("run", "")
    assert set(workflow[True]) == {"workflow_call"}
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write", "id-token": "write"}


HOSTS = {
    "github": list(_steps().values()),
    "gitlab": yaml.safe_load(GITLAB.read_text())[".holdfast-preview"]["script"],
}


@pytest.mark.parametrize("script", [script for scripts in HOSTS.values() for script in scripts])
def test_every_script_is_good_shell(script: str) -> None:
    checked = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("host", HOSTS)
def test_the_comment_is_asked_for_with_options_that_exist(host: str) -> None:
    calls = [
        call
        for script in HOSTS[host]
        for call in re.findall(
            r"holdfast preview-comment .*?(?=\n\S|> comment)", script.replace("\\\n", " "), re.DOTALL
        )
    ]
    options = {option for call in calls for option in re.findall(r"(?<= )--[a-z-]+", call)}
    assert {"--commit", "--time"} <= options
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    known = page.partition("## holdfast preview-comment\n")[2].partition("\n## ")[0]
    assert {option for option in options if f"`{option}" not in known} == set()

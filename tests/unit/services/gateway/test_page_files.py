"""The web page and the catalogue, answered from memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from holdfast_services.gateway.core.refusal import Refusal
from holdfast_services.gateway.page import POLICY, Page
from holdfast_services.gateway.templates import Templates

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def web(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "main.js").write_text("export {};")
    (tmp_path / "notes.md").write_text("not for visitors")
    return tmp_path


def test_the_index_answers_at_the_root_and_parts_below_page(web: Path) -> None:
    page = Page.load(web)
    assert set(page.files) == {"/", "/page/main.js"}
    index = page.answer("/")
    assert index is not None
    assert (index.status, index.body) == (200, b"<!doctype html>")
    assert dict(index.headers)[b"content-type"] == b"text/html; charset=utf-8"
    assert page.answer("/page/notes.md") is None
    assert page.answer("/page/../main.js") is None


def test_every_answer_forbids_scripts_and_requests_beyond_the_gateway(web: Path) -> None:
    answer = Page.load(web).answer("/page/main.js")
    assert answer is not None
    headers = dict(answer.headers)
    assert headers[b"content-security-policy"].decode() == POLICY
    assert "default-src 'self'" in POLICY
    assert "unsafe" not in POLICY
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_a_file_that_the_browser_has_is_304_until_it_changes(web: Path) -> None:
    first = Page.load(web).answer("/page/main.js")
    assert first is not None
    tag = dict(first.headers)[b"etag"].decode()
    again = Page.load(web).answer("/page/main.js", f'"other", W/{tag}')
    assert again is not None
    assert (again.status, again.body) == (304, b"")
    (web / "main.js").write_text("export const changed = 1;")
    changed = Page.load(web).answer("/page/main.js", tag)
    assert changed is not None
    assert changed.status == 200


def test_a_folder_without_an_index_is_refused_with_the_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no index\.html: point HOLDFAST_WEB_DIR at the folder `web`"):
        Page.load(tmp_path)


def test_the_page_itself_names_nothing_outside_of_the_gateway() -> None:
    for path, file in Page.load(ROOT / "web").files.items():
        text = file.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert 'src="http' not in text, path
        assert "//cdn" not in text, path
        assert "innerHTML" not in text, path
        assert "localStorage" not in text, path


def test_the_catalogue_lists_and_describes_every_template() -> None:
    templates = Templates.load(ROOT / "templates")
    listed = templates.answer("/v1/templates")
    assert listed is not None
    names = [one["name"] for one in json.loads(listed.body)["templates"]]
    assert names == sorted(path.parent.name for path in (ROOT / "templates").glob("*/template.yaml"))
    for name in names:
        answer = templates.answer(f"/v1/templates/{name}")
        assert answer is not None
        described = json.loads(answer.body)
        declared = yaml.safe_load((ROOT / "templates" / name / "template.yaml").read_text())
        assert described["version"] == declared["version"]
        assert described["input_schema"]["type"] == "object"
        assert described["model_card"].startswith("# ")
        for example in described["examples"]:
            if "body_url" in example:
                assert templates.answer(example["body_url"]) is not None


def test_an_unknown_template_is_a_problem_and_other_paths_are_not_its_business() -> None:
    templates = Templates.load(ROOT / "templates")
    assert templates.answer("/v1/endpoints") is None
    with pytest.raises(Refusal, match="the catalogue has no /v1/templates/nothing: /v1/templates lists it"):
        templates.answer("/v1/templates/nothing")


def test_files_outside_of_the_templates_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "template.yaml").write_text(
        yaml.safe_dump({"name": "bad", "examples": [{"name": "x", "body_file": "../secret"}]})
    )
    with pytest.raises(
        ValueError, match=r"template bad cannot be read: .*lies outside of the template's folder"
    ):
        Templates.load(tmp_path)


def test_an_empty_folder_is_an_empty_catalogue(tmp_path: Path) -> None:
    answer = Templates.load(tmp_path).answer("/v1/templates")
    assert answer is not None
    assert json.loads(answer.body) == {"templates": []}

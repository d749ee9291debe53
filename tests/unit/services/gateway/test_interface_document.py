"""The OpenAPI document and the pages about problems."""

from __future__ import annotations

import html
import json
from html.parser import HTMLParser

import pytest
from openapi_spec_validator import validate

from holdfast_contract import problems
from holdfast_services.gateway import problem_pages
from holdfast_services.gateway.core.refusal import Refusal, problem_answer
from holdfast_services.gateway.openapi import DOCUMENT

OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def test_the_document_is_valid_openapi_and_every_operation_has_a_name_and_a_tag() -> None:
    validate(DOCUMENT)
    identifiers = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(identifiers)) == len(identifiers)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(set(operation["tags"]) <= tags for _, _, operation in OPERATIONS)


@pytest.mark.parametrize("kind", problems.ALL, ids=lambda kind: kind.slug)
def test_every_problem_is_documented_where_it_happens_with_its_own_status(kind: problems.Problem) -> None:
    reference = f"#/components/schemas/problem.{kind.slug}"
    found = [
        status
        for _, _, operation in OPERATIONS
        for status, response in operation["responses"].items()
        if reference in json.dumps(response)
    ]
    # A method that a page does not take has no operation to stand in.
    assert found or kind is problems.METHOD_NOT_ALLOWED
    assert set(found) <= {str(kind.status)}


@pytest.mark.parametrize("kind", problems.ALL, ids=lambda kind: kind.slug)
def test_the_address_in_an_answer_is_the_page_that_every_gateway_serves(kind: problems.Problem) -> None:
    said = json.loads(problem_answer(Refusal(kind, "x"), None).body)
    path = said["type"].removeprefix("https://holdfast.dev")
    page = problem_pages.answer(path)
    assert page is not None
    text = page.body.decode()
    assert html.escape(kind.title) in text
    assert kind.slug in text
    assert ("may be sent again" in text) == kind.retry
    HTMLParser().feed(text)


def test_every_problem_says_cause_and_remedy_in_sentences() -> None:
    wrong = [
        kind.slug
        for kind in problems.ALL
        for text in (kind.cause, kind.remedy)
        if len(text) < 20 or not text.endswith(".") or "\n" in text
    ]
    assert wrong == []


def test_the_list_names_all_and_an_unknown_kind_is_a_problem_itself() -> None:
    listed = problem_pages.answer("/problems/")
    assert listed is not None
    assert all(f"/problems/{kind.slug}" in listed.body.decode() for kind in problems.ALL)
    with pytest.raises(Refusal, match="/problems lists every kind"):
        problem_pages.answer("/problems/nothing")
    assert problem_pages.answer("/problemsolving") is None


def test_the_reference_in_the_repository_is_current() -> None:
    made = problem_pages.markdown()
    remedy = "run: python -m holdfast_services.gateway.problem_pages --write"
    assert problem_pages.PAGE.read_text() == made, remedy
    assert problem_pages.main(["--wrong"]) == 2

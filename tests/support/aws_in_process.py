"""The AWS stand-in's provider as the engine calls it, against moto in the same process: no server, no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import boto3
from moto import mock_aws
from pulumi.runtime.proto import provider_pb2

from holdfast_sandbox.plugins.aws.provider import AwsProvider
from holdfast_sandbox.plugins.aws.session import BotoSession
from holdfast_sandbox.plugins.aws.wire import Properties, decode, encode


class Refused(Exception):
    """What the engine would show to the user."""


class _Context:
    def code(self) -> None:
        return None

    def abort(self, _code: Any, text: str) -> NoReturn:
        raise Refused(text)


@cache
def _client(service: str, region: str) -> Any:
    # Making one takes longer than most tests; moto answers to any.
    make = cast("Callable[..., Any]", boto3.client)
    return make(service, region_name=region, aws_access_key_id="sandbox", aws_secret_access_key="sandbox")


@dataclass
class InProcess(BotoSession):
    """Clients whose calls moto answers; `fail` refuses calls of one name."""

    failing: dict[str, Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__("in-process", "us-east-1")

    def client(self, service: str, region: str | None = None) -> Any:
        """A client of one service."""
        if not self.failing:
            return _client(service, region or self.region)
        made = _client.__wrapped__(service, region or self.region)
        for method, error in self.failing.items():
            if hasattr(made, method):
                setattr(made, method, _raising(error))
        return made


def _raising(error: Exception) -> Callable[..., NoReturn]:
    def refuse(**_parameters: Any) -> NoReturn:
        raise error

    return refuse


@dataclass
class Resource:
    """One resource of a program, and what a state file would say of it."""

    provider: AwsProvider
    urn: str
    id: str
    inputs: Properties
    state: Properties

    def diff(self, **changed: Any) -> Any:
        """What an update to these inputs would do; a property set to None is taken out of the program."""
        new = self._checked(changed)
        return self._diff(new)

    def update(self, **changed: Any) -> Any:
        """Change it as the engine would; fails where the change is not one in place."""
        new = self._checked(changed)
        found = self._diff(new)
        assert found.diffs, "nothing changed"
        assert not found.replaces, f"{list(found.replaces)} would replace it"
        answer = self.provider.Update(
            provider_pb2.UpdateRequest(
                id=self.id,
                urn=self.urn,
                olds=_struct(self.state),
                old_inputs=_struct(self.inputs),
                news=_struct(new),
            ),
            _Context(),
        )
        self.inputs, self.state = new, decode(answer.properties)
        return self.state.plain

    def refresh(self) -> bool:
        """Look again; whether it is still there."""
        answer = self.provider.Read(
            provider_pb2.ReadRequest(
                id=self.id, urn=self.urn, properties=_struct(self.state), inputs=_struct(self.inputs)
            ),
            _Context(),
        )
        if answer.id:
            self.inputs, self.state = decode(answer.inputs), decode(answer.properties)
        return bool(answer.id)

    def delete(self) -> None:
        """Delete it."""
        self.provider.Delete(
            provider_pb2.DeleteRequest(
                id=self.id, urn=self.urn, properties=_struct(self.state), old_inputs=_struct(self.inputs)
            ),
            _Context(),
        )

    def _checked(self, changed: Mapping[str, Any]) -> Properties:
        declared = {**self.inputs.plain, **changed}
        given = {
            name: value for name, value in declared.items() if value is not None and name != "__defaults"
        }
        return check(self.provider, self.urn, given, self.inputs)

    def _diff(self, new: Properties) -> Any:
        return self.provider.Diff(
            provider_pb2.DiffRequest(
                id=self.id,
                urn=self.urn,
                olds=_struct(self.state),
                old_inputs=_struct(self.inputs),
                news=_struct(new),
            ),
            _Context(),
        )


@dataclass
class Aws:
    """An empty account, and a provider for it."""

    session: InProcess = field(default_factory=InProcess)

    def __post_init__(self) -> None:
        self.provider = AwsProvider("")
        self.provider._session = self.session

    def client(self, service: str) -> Any:
        """For looking past the provider, and for changes from outside."""
        return self.session.client(service)

    def create(self, token: str, secret: tuple[str, ...] = (), **inputs: Any) -> Resource:
        """Declare it; a refresh right after it finds nothing to change."""
        made = self.create_only(token, secret, **inputs)
        assert not made.diff().diffs, "a second run of the same program changes something"
        assert made.refresh(), "it is not found again"
        assert not made.diff(**inputs).diffs, "a refresh changes something that nobody has changed"
        return made

    def create_only(self, token: str, secret: tuple[str, ...] = (), **inputs: Any) -> Resource:
        """Declare it."""
        urn = urn_of(token)
        checked = check(self.provider, urn, inputs, Properties({}, frozenset(secret)))
        answer = self.provider.Create(
            provider_pb2.CreateRequest(urn=urn, properties=_struct(checked)), _Context()
        )
        return Resource(self.provider, urn, answer.id, checked, decode(answer.properties))

    def adopt(self, token: str, identity: str) -> Resource:
        """Import it."""
        urn = urn_of(token)
        answer = self.provider.Read(provider_pb2.ReadRequest(id=identity, urn=urn), _Context())
        assert answer.id, "there is nothing to import"
        return Resource(self.provider, urn, answer.id, decode(answer.inputs), decode(answer.properties))

    def invoke(self, token: str, **given: Any) -> Any:
        """Call a function that reads."""
        request = SimpleNamespace(tok=token, args=encode(given))
        return decode(getattr(self.provider.Invoke(request, _Context()), "return"))


def urn_of(token: str) -> str:
    """A resource's URN in some program."""
    return f"urn:pulumi:dev::project::{token}::thing"


def check(provider: AwsProvider, urn: str, inputs: Mapping[str, Any], old: Properties) -> Properties:
    """The inputs as the provider completes them."""
    answer = provider.Check(
        provider_pb2.CheckRequest(
            urn=urn, olds=_struct(old), news=encode(inputs, old.secret), randomSeed=b"seed"
        ),
        _Context(),
    )
    if answer.failures:
        raise Refused("; ".join(failure.reason for failure in answer.failures))
    return decode(answer.inputs)


def _struct(properties: Properties) -> Any:
    return encode(properties.plain, properties.secret)


@contextmanager
def aws_in_process() -> Iterator[Aws]:
    """An empty account for as long as the block runs."""
    with mock_aws():
        yield Aws()

"""The resource provider service, as the engine calls it."""

from __future__ import annotations

import functools
import json
import os
import random
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from holdfast_sandbox.plugins.aws import operations
from holdfast_sandbox.plugins.aws.differences import DEFAULTS, Difference, difference
from holdfast_sandbox.plugins.aws.model import Function, Row
from holdfast_sandbox.plugins.aws.session import BotoSession, ProviderError, explain, session_from
from holdfast_sandbox.plugins.aws.tables import FUNCTIONS, ROWS
from holdfast_sandbox.plugins.aws.wire import UNKNOWN, Properties, Unknown, decode, encode, has_unknown

NAME: Final = "the sandbox's stand-in for the AWS provider"
_SUFFIX_LENGTH: Final = 7
"""Hex digits after a made-up name, as Pulumi's own providers do it."""


def _told(method: Callable[..., Any]) -> Callable[..., Any]:
    """Errors become one sentence for the user instead of a Python traceback in the engine's output."""

    @functools.wraps(method)
    def wrapped(self: AwsProvider, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except Exception as error:
            if context.code() is not None:  # already told
                raise
            urn = getattr(request, "urn", "")
            token = getattr(request, "tok", "") or type_of(urn)
            what = getattr(request, "id", "") or urn.rpartition("::")[2] or method.__name__
            context.abort(grpc.StatusCode.UNKNOWN, explain(error, token, what, _secret_texts(request)))

    return wrapped


def _secret_texts(request: Any) -> frozenset[str]:
    """The values in a request that no error may show."""
    given = (
        getattr(request, name, None)
        for name in ("args", "properties", "inputs", "news", "olds", "old_inputs")
    )
    return frozenset().union(*(decode(one).secret_texts() for one in given if isinstance(one, Struct)))


class AwsProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Serves one engine with one configuration."""

    def __init__(self, engine_address: str) -> None:
        self._engine_address = engine_address
        self._session: BotoSession | None = None
        self._default_tags: dict[str, str] = {}
        self._default_tags_are_secret = False
        self._warned: set[tuple[str, str]] = set()

    # The provider itself.

    def Handshake(self, request: Any, context: Any) -> Any:
        """The engine introduces itself, and learns what is understood."""
        self._engine_address = request.engine_address or self._engine_address
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_resources=False, accept_outputs=False
        )

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """The version of the SDK whose types are served."""
        return plugin_pb2.PluginInfo(version=metadata.version("pulumi-aws"))

    def GetSchema(self, request: Any, context: Any) -> Any:
        """A schema with names and no types: nothing is generated from a stand-in."""
        schema = {
            "name": "aws",
            "version": metadata.version("pulumi-aws"),
            "description": NAME,
            "resources": {row.token: {} for row in ROWS.values()},
            "functions": {token: {} for token in FUNCTIONS},
        }
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        """Any configuration is taken: most of it is about credentials, and there are none here."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        """Another region is another set of resources."""
        old, new = decode(request.olds).plain, decode(request.news).plain
        replaces = ["region"] if old.get("region") != new.get("region") else []
        return provider_pb2.DiffResponse(replaces=replaces)

    @_told
    def Configure(self, request: Any, context: Any) -> Any:
        """Find the AWS stand-in."""
        arguments = decode(request.args)
        given = _nested(arguments.plain)
        if not has_unknown(given):
            self._session = session_from(os.environ, given)
            tags = given.get("defaultTags") or {}
            self._default_tags_are_secret = "defaultTags" in arguments.secret
            self._default_tags = {str(k): str(v) for k, v in (tags.get("tags") or {}).items()}
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=False, acceptOutputs=False
        )

    def Cancel(self, request: Any, context: Any) -> Any:
        """No call takes long enough to be cut off."""
        return empty_pb2.Empty()

    # Functions.

    @_told
    def Invoke(self, request: Any, context: Any) -> Any:
        """Run a function that reads."""
        function: Function | None = FUNCTIONS.get(request.tok)
        if function is None:
            raise ProviderError(unsupported("function", request.tok, FUNCTIONS))
        result = function.run(self._ready(), decode(request.args).plain)
        answer = provider_pb2.InvokeResponse()
        # The field's name is a keyword of Python.
        getattr(answer, "return").CopyFrom(encode(result, function.secrets))
        return answer

    # Resources.

    @_told
    def Check(self, request: Any, context: Any) -> Any:
        """Refuse what cannot work, and make up a name where none is given."""
        token = type_of(request.urn)
        row = ROWS.get(token)
        if row is None:
            return _refused("", unsupported("type", token, ROWS))
        old, new = decode(request.olds), decode(request.news)
        for name in row.required:
            if new.plain.get(name) is None:
                return _refused(name, f"{token} needs `{name}`")
        inputs = {name: value for name, value in new.plain.items() if value is not None}
        _name(row, request.urn, old.plain, inputs, request.randomSeed)
        return provider_pb2.CheckResponse(inputs=encode(inputs, new.secret | (row.secrets & inputs.keys())))

    @_told
    def Diff(self, request: Any, context: Any) -> Any:
        """What would an update do."""
        row = _row(request.urn)
        state, new = decode(request.olds).plain, decode(request.news).plain
        found = self._difference(row, decode(request.old_inputs).plain, new, state)
        updated, replaced = provider_pb2.PropertyDiff.UPDATE, provider_pb2.PropertyDiff.UPDATE_REPLACE
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME
            if found.changed
            else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=list(found.changed),
            replaces=list(found.replacing),
            deleteBeforeReplace=found.delete_first,
            detailedDiff={
                name: provider_pb2.PropertyDiff(
                    kind=replaced if name in found.replacing else updated, inputDiff=True
                )
                for name in found.changed
            },
            hasDetailedDiff=True,
        )

    @_told
    def Create(self, request: Any, context: Any) -> Any:
        """Create it, or in a preview say what would be known."""
        row = _row(request.urn)
        inputs = decode(request.properties)
        if request.preview:
            made = dict.fromkeys([*row.outputs, *(["tagsAll"] if row.tags else [])], UNKNOWN) | inputs.plain
            made.pop(DEFAULTS, None)
            return provider_pb2.CreateResponse(properties=encode(made, self._secret(row, inputs)))
        self._warn_about_unmodelled(row, request.urn, inputs.plain)
        identity, properties = operations.create(row, self._ready(), inputs.plain, self._tags(inputs.plain))
        return provider_pb2.CreateResponse(
            id=identity, properties=encode(properties, self._secret(row, inputs))
        )

    @_told
    def Read(self, request: Any, context: Any) -> Any:
        """Look what is there: for refresh, import and `.get()`."""
        token = type_of(request.urn)
        row = ROWS.get(token)
        if row is None:
            raise ProviderError(unsupported("type", token, ROWS))
        state, old_inputs = decode(request.properties), decode(request.inputs)
        known = {**state.plain, **{k: v for k, v in old_inputs.plain.items() if k != DEFAULTS}}
        properties = operations.read(row, self._ready(), request.id, known, self._default_tags)
        if properties is None:
            return provider_pb2.ReadResponse()
        inputs = operations.inputs_from(row, properties, old_inputs.plain, state.plain)
        secret = self._secret(row, state) | self._secret(row, old_inputs)
        return provider_pb2.ReadResponse(
            id=request.id, properties=encode(properties, secret), inputs=encode(inputs, secret)
        )

    @_told
    def Update(self, request: Any, context: Any) -> Any:
        """Change it in place."""
        row = _row(request.urn)
        state, new = decode(request.olds), decode(request.news)
        if request.preview:
            kept = {name: value for name, value in state.plain.items() if name not in row.unsure}
            made = dict.fromkeys(row.unsure, UNKNOWN) | kept | new.plain
            made |= {name: {**kept[name], **made[name]} for name in row.adds & kept.keys()}
            made.pop(DEFAULTS, None)
            return provider_pb2.UpdateResponse(properties=encode(made, self._secret(row, new)))
        self._warn_about_unmodelled(row, request.urn, new.plain)
        found = self._difference(row, decode(request.old_inputs).plain, new.plain, state.plain)
        tags = self._tags(new.plain)
        properties = operations.update(
            row, self._ready(), request.id, state.plain, new.plain, found.changed, tags
        )
        return provider_pb2.UpdateResponse(properties=encode(properties, self._secret(row, new)))

    @_told
    def Delete(self, request: Any, context: Any) -> Any:
        """Delete it."""
        known = {**decode(request.old_inputs).plain, **decode(request.properties).plain}
        operations.delete(_row(request.urn), self._ready(), request.id, known)
        return empty_pb2.Empty()

    # Shared.

    def _ready(self) -> BotoSession:
        if self._session is None:
            self._session = session_from(os.environ, {})
        return self._session

    def _tags(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        return {**self._default_tags, **(inputs.get("tags") or {})}

    def _secret(self, row: Row, given: Properties) -> frozenset[str]:
        secret = given.secret | row.secrets
        # All tags are the declared ones and the provider's default ones together.
        return secret | {"tagsAll"} if "tags" in secret or self._default_tags_are_secret else secret

    def _difference(
        self, row: Row, old: Mapping[str, Any], new: Mapping[str, Any], state: Mapping[str, Any]
    ) -> Difference:
        tags = new.get("tags")
        wanted = tags if has_unknown(tags) else self._tags(new)
        return difference(row, old, new, state.get("tagsAll") or {}, wanted)

    def _warn_about_unmodelled(self, row: Row, urn: str, inputs: Mapping[str, Any]) -> None:
        """What has no effect here is said, once per resource: silence would pass for success."""
        if row.recorded:
            self._warn(
                urn, f"{row.token} is only recorded: the AWS stand-in has nothing that would act on it"
            )
        ignored = sorted(inputs.keys() - row.known_inputs() - {DEFAULTS})
        if ignored:
            self._warn(urn, f"{NAME} does not model {', '.join(ignored)} of {row.token}: without effect here")

    def _warn(self, urn: str, text: str) -> None:
        if not self._engine_address or (urn, text) in self._warned:
            return
        self._warned.add((urn, text))
        with grpc.insecure_channel(self._engine_address) as channel:
            log = engine_pb2.LogRequest(severity=engine_pb2.WARNING, message=text, urn=urn)
            engine_pb2_grpc.EngineStub(channel).Log(log, timeout=5)


def type_of(urn: str) -> str:
    """The type's token in a URN; empty where there is none."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) >= 4 else ""


def unsupported(kind: str, token: str, known: Mapping[str, Any]) -> str:
    """Why a type or function is refused, and what can be done."""
    return (
        f"{token} is a {kind} that {NAME} does not have: add a row for it in "
        "sandbox/holdfast_sandbox/plugins/aws/tables, leave the resource out of the sandbox's stack, or work against "
        f"an account with Pulumi's own AWS provider. It has: {', '.join(sorted(known))}"
    )


def _row(urn: str) -> Row:
    token = type_of(urn)
    if token not in ROWS:
        raise ProviderError(unsupported("type", token, ROWS))
    return ROWS[token]


def _refused(name: str, reason: str) -> Any:
    return provider_pb2.CheckResponse(failures=[provider_pb2.CheckFailure(property=name, reason=reason)])


def _name(row: Row, urn: str, old: Mapping[str, Any], inputs: dict[str, Any], seed: bytes) -> None:
    """Give a name where the user gave none; it stays the same over updates."""
    if row.name is None or inputs.get(row.name) is not None:
        return
    inputs[DEFAULTS] = [row.name]
    if old.get(row.name) is not None and row.name in (old.get(DEFAULTS) or ()):
        inputs[row.name] = old[row.name]
        return
    prefix = inputs.get(f"{row.name}Prefix")
    if prefix is None:
        prefix = f"{row.name_prefix}{urn.rpartition('::')[2]}-"
    if isinstance(prefix, Unknown):
        inputs[row.name] = UNKNOWN
        return
    digits = random.Random(seed or None).randbytes(4).hex()[:_SUFFIX_LENGTH]
    name = f"{prefix[: row.name_length - _SUFFIX_LENGTH]}{digits}"
    inputs[row.name] = name.lower() if row.token.startswith(("aws:s3", "aws:ecr")) else name


def _nested(given: Mapping[str, Any]) -> dict[str, Any]:
    """A provider's configuration: what is not a string arrives as JSON text."""
    read: dict[str, Any] = {}
    for name, value in given.items():
        try:
            read[name] = json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
        except ValueError:
            read[name] = value
    return read

"""The endpoint document: what gateway, scaler, worker and page need to know of an endpoint."""

from __future__ import annotations

from holdfast_contract.document import ContractExample, EndpointDocument, PhaseEstimate, Price, Scaling
from holdfast_contract.tokens import parse_declared
from pulumi_holdfast.plan.coldstart import estimate
from pulumi_holdfast.plan.cost import cost_of
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import hardware_table


def document_of(spec: EndpointSpec, *, namespace: str, image: str) -> EndpointDocument:
    """The document of an endpoint; it holds no secret, tokens as hashes only."""
    return EndpointDocument(
        name=spec.name,
        namespace=namespace,
        deployment=spec.name,
        image=image,
        port=spec.port,
        health_check_path=spec.health_check_path,
        visibility=spec.visibility,
        state=spec.state,
        tokens=tuple(parse_declared(text) for text in spec.tokens),
        scaling=Scaling(**spec.scaling.model_dump()),
        gpus=spec.hardware.gpus,
        rate_limit=spec.rate_limit,
        rollout=spec.rollout,
        template=spec.template_ref,
        contract=tuple(ContractExample(**example.model_dump(mode="json")) for example in spec.contract),
        sse_keepalive_s=spec.sse_keepalive_s,
        description=spec.description,
        price=_price(spec),
        cold_start_estimate=_cold_start(spec),
    )


def _cold_start(spec: EndpointSpec) -> tuple[PhaseEstimate, ...]:
    """From what is declared alone: what a registry answers may differ from day to day, and an update would show it as
    a change that nobody made."""
    start = estimate(spec)
    return start.phases if len(start.unknown) < len(start.phases) else ()


def _price(spec: EndpointSpec) -> Price | None:
    cost = cost_of(spec, hardware_table())
    if cost is None:
        return None
    return Price(
        usd_per_hour=cost.usd_per_hour,
        replicas_per_instance=cost.replicas_per_instance,
        instance_type=cost.instance_type,
        region=cost.region,
        prices_from=cost.prices_from,
        note=cost.note,
    )

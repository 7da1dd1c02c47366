"""人工服务: a request for what a company's people shall do once, by the day or by the piece; granted, it is a job of the pool's company."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from providers.labour import jobs, rates
from quota.errors import N_, Invalid
from quota.requests import Request, RequestKind, RuleFact, declarations, facts

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.directory import Pool

CODE = "labour"
MOST = Decimal(10_000)
"""Of one request, in the rate's unit."""


def _quantity(request: Request) -> Decimal | None:
    try:
        found = Decimal(str(request.fields.get("quantity", "")))
    except InvalidOperation:
        return None
    return found if found.is_finite() and 0 < found <= MOST and found == found.quantize(Decimal("0.01")) else None


def _rate(tx: Tx, request: Request) -> rates.LabourRate | None:
    """The rate by which it is asked for: as it was when it was handed in. What was corrected since is not what was signed."""
    return rates.in_force(tx, request.pool.provider_id, request.submitted_at or tx.now).get(
        str(request.fields.get("service", ""))
    )


def check(tx: Tx, request: Request) -> None:
    """Raise Invalid for a service that has no rate with the pool's company, or a quantity that is none."""
    if _rate(tx, request) is None:
        code = str(request.fields.get("service", ""))[:32]
        raise Invalid("labour.no_rate", N_("没有对该云服务商生效的人工服务 %(code)s"), code=code, field="service")
    if _quantity(request) is None:
        raise Invalid("labour.quantity", N_("数量须大于 0，至多 %(most)s，最多两位小数"), most=MOST, field="quantity")


def granted(tx: Tx, request: Request) -> None:
    rate, quantity = _rate(tx, request), _quantity(request)
    if rate is None or quantity is None:
        raise Invalid("labour.no_rate", N_("没有对该云服务商生效的人工服务 %(code)s"), code=request.fields["service"])
    jobs.order(tx, request, rate, quantity, str(request.fields["content"]))


def yuan(tx: Tx, request: Request) -> float | None:
    """What it costs, in yuan; 0 of anything else. Not known where it has no rate or no quantity yet."""
    if request.kind != CODE:
        return 0.0
    rate, quantity = _rate(tx, request), _quantity(request)
    return None if rate is None or quantity is None else jobs.worth(rate.price, quantity) / 100


def _service(tx: Tx, request: Request) -> str:
    del tx
    return str(request.fields.get("service", "")) if request.kind == CODE else ""


def _offers(tx: Tx, pool: Pool) -> Mapping[str, str]:
    found = rates.in_force(tx, pool.provider_id, tx.now)
    return {code: f"{one.name} · ¥{one.price:,.2f}/{one.unit}" for code, one in found.items()}


facts.register("labour", RuleFact(str, N_("人工服务代码"), ""), _service)
facts.register("labour_yuan", RuleFact(float, N_("人工服务金额 元"), 0), yuan)

LABOUR = declarations.register(
    RequestKind(
        code=CODE,
        label=N_("人工服务"),
        position=70,
        fields=(
            declarations.RequestField("service", N_("服务项目"), required=True, offers=_offers),
            declarations.RequestField("quantity", N_("人天或次数"), required=True),
            declarations.RequestField("content", N_("服务内容"), long=True, required=True),
        ),
        headline=("service", "quantity"),
        why=declarations.Question(
            N_("申请理由"), N_("写明为什么需要、做到什么程度、如何验收；数量如何测算"), N_("请写明申请人工服务的理由")
        ),
        check=check,
        granted=granted,
        hint=N_("请云服务商派人做一次性的服务：迁移、部署、重保值守、技术支持等，按人天或次计价"),
    )
)

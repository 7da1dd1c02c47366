"""Why something waits, was passed over, or ended so: a closed list of codes, each with its words.

A code names what it is of before the point. Pages tell the words, exports and programs the code, ``/metrics`` counts by it
(``guanjia_waiting``), and docs/operators/waiting.md lists all of them. Codes are permanent: a dashboard names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import func, select

from metering.cases import OPEN as OPEN_CASES
from metering.cases import SKIPS, Case, CaseState, Opening
from metering.cases import STATE_LABELS as CASE_LABELS
from providers.connection import FAULTS
from providers.orders import HELD, OrderState, WorkOrder
from providers.orders import OPEN as OPEN_ORDERS
from quota.actors import Role
from quota.db import Tx
from quota.errors import N_
from quota.requests import DECISION_LABELS, Request, RequestState, approvals
from quota.requests import OPEN as OPEN_REQUESTS

BECAME = {
    **{one.value: label for one, label in DECISION_LABELS.items()},
    "done": N_("已完成"),
    approvals.NOT_NEEDED: N_("已达会签方数,不再需要"),
    "superseded": N_("申请内容已改,作废"),
}
"""What became of a step."""

WAITS: Mapping[str, str] = {
    "request.signature": N_("等待审批"),
    "request.opinion": N_("等待云服务商出具意见"),
    "request.supplement": N_("等待使用单位补正"),
    "request.placing": N_("已批准，等待派单"),
    "request.delivery": N_("云服务商交付中"),
    "request.acceptance": N_("等待使用单位验收"),
    "order.queued": N_("等待派往云"),
    "order.cloud": N_("云上办理中"),
    "order.hands": N_("等待云服务商人员办理"),
    "order.acceptance": N_("等待验收"),
    "order.failed": N_("办理失败，等待重试、改为人工或取消"),
    **{f"order.{code}": words for code, words in HELD.items()},
    **{f"order.fault_{code}": words for code, words in FAULTS.items()},
    **{f"case.{state.value}": words for state, words in CASE_LABELS.items() if state is not CaseState.CLOSED},
    **{f"skipped.{code}": words for code, words in SKIPS.items()},
    **{f"step.{code}": words for code, words in BECAME.items()},
}
"""Code → words."""

_REQUESTS = {
    RequestState.SUPPLEMENT: "request.supplement",
    RequestState.APPROVED: "request.placing",
    RequestState.DELIVERING: "request.delivery",
    RequestState.ACCEPTING: "request.acceptance",
}


def of_request(state: str, turn: str | None) -> str | None:
    """Why a request waits, by its state and whose turn it is; None for a draft and for one that is at its end."""
    if state == RequestState.IN_REVIEW:
        return "request.opinion" if turn == Role.PROVIDER else "request.signature"
    return _REQUESTS.get(RequestState(state))


def of_order(state: str, by_hand: bool, fault: str) -> str | None:
    """Why an order waits, by its state, whether people do it, and what its cloud or we said last; None at its end."""
    match OrderState(state):
        case OrderState.ACCEPTED | OrderState.CANCELLED:
            return None
        case OrderState.DELIVERED:
            return "order.acceptance"
    if by_hand and state != OrderState.FAILED:  # whatever its interface said before people had it
        return "order.hands"
    if fault in HELD:
        return f"order.{fault}"
    if fault in FAULTS:
        return f"order.fault_{fault}"
    if state == OrderState.FAILED:
        return "order.failed"
    return "order.queued" if state == OrderState.PENDING else "order.cloud"


def of_case(state: str) -> str | None:
    """What a case waits for, by its state; None where it is closed."""
    return None if state == CaseState.CLOSED else f"case.{state}"


def counted(tx: Tx) -> dict[str, int]:
    """Code → how many wait for it now: requests, orders and cases, and what the last opening of cases passed over."""
    found: Counter[str] = Counter()
    # What is at its end waits for nothing: by far the most of each table, and never read.
    requests = select(Request.state, Request.turn, func.count()).where(Request.state.in_(OPEN_REQUESTS))
    orders = select(WorkOrder.state, WorkOrder.by_hand, WorkOrder.fault, func.count()).where(
        WorkOrder.state.in_(OPEN_ORDERS)
    )
    cases = select(Case.state, func.count()).where(Case.state.in_(OPEN_CASES))
    for state, turn, count in tx.execute(requests.group_by(Request.state, Request.turn)):
        found[of_request(state, turn) or ""] += count
    for state, by_hand, fault, count in tx.execute(
        orders.group_by(WorkOrder.state, WorkOrder.by_hand, WorkOrder.fault)
    ):
        found[of_order(state, by_hand, fault) or ""] += count
    for state, count in tx.execute(cases.group_by(Case.state)):
        found[of_case(state) or ""] += count
    del found[""]
    last = tx.scalar(select(Opening).order_by(Opening.id.desc()).limit(1))
    for code, count in last.why().items() if last is not None else ():
        found[f"skipped.{code}"] += count
    return dict(found)

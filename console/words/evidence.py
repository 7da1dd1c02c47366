"""Evidence rows of scorecards in the reader's words: what a row is called, and what it says.

A row keeps codes and figures (``providers.assessment.evidence``, ``evidence_rows``), so that anybody can recompute the mark; here they
get the words, units and the city's time that a reader knows them by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import g
from sqlalchemy import select

from console.book import reading
from console.words import names
from console.words.texts import UNKNOWN, _, kind_label, number, percent, when
from providers.assessment import CERTIFICATES, FITNESS_LABELS, FORMS, Fitness, RecordKind
from providers.base import Verb
from providers.orders import VERB_LABELS
from quota.directory import Department, Pool
from quota.errors import N_
from quota.units import CLASSES

FACTS = {
    "number": N_("工单号"), "verb": N_("事项"), "due_at": N_("期限"), "delivered_at": N_("交付"), "ok": N_("达标"),
    "level": N_("级别"), "misses": N_("超时"), "kind": N_("类别"), "billed": N_("账单"), "metered": N_("已证实"),
    "unmeasured": N_("无法计量"), "disputed": N_("有差异"), "expected": N_("应收"), "received": N_("实收"),
    "lag_minutes": N_("时延(分钟)"), "pool": N_("资源池"), "month": N_("月份"), "days": N_("天数"),
    "minutes": N_("总分钟"), "down_minutes": N_("中断分钟"), "hosts": N_("主机数"), "incidents": N_("故障"),
    "capacity": N_("容量"), "rate": N_("分配率"), "stars": N_("评分"), "department": N_("使用单位"), "of": N_("服务单位数"),
    "what": N_("内容"), "count": N_("数量"), "due": N_("应备份"), "done": N_("成功"), "drill": N_("演练成功"),
    "drills_due": N_("应做演练"), "certificate": N_("证书"), "valid_until": N_("有效期至"), "on": N_("核对日"),
    "fitness": N_("适配状态"), "veto": N_("一票否决"), "at": N_("时点"), "order": N_("工单"),
}  # fmt: skip
"""Name of a fact → what it is called. ``lines`` and ``causes`` are for the recomputation, not for reading."""

SEEN = {
    "none": FORMS[RecordKind.REVIEW].label,
    "general": FORMS[RecordKind.EVENT].label,
    "major": FORMS[RecordKind.MAJOR_EVENT].label,
    "vulnerability": FORMS[RecordKind.VULNERABILITY].label,
}
"""What a security record is about."""

SOURCES = {"pool": N_("平台可用性"), "capacity": N_("分配率"), "samples": N_("数据上报"), "quarter": N_("季度")}
"""Rows that are reckoned, and rest on no single row of the book."""


def called(ref: str) -> str:
    """``bill:1/i-7/vcpu`` → 账单 2026-10 · i-7 · vCPU; ``capacity:gov/2026-09/memory`` → 分配率 · 资源池名 · 2026-09 · 内存."""
    head, *rest = ref.split("/")
    kind, _colon, name = head.partition(":")
    tail = [kind_label(part) if part in CLASSES else part for part in rest]
    if kind in SOURCES and not (kind in names.KINDS and name.isdigit()):
        return " · ".join([_(SOURCES[kind]), _pool(name), *tail])
    if kind == "certificate":
        return " · ".join([_("证书"), _(CERTIFICATES.get(name, name)), *tail])
    return " · ".join([names.subject(head), *tail])


def learn(refs: Iterable[str]) -> None:
    """Fetch what rows are called by, together."""
    names.learn(ref.split("/")[0] for ref in refs)


def facts(raw: Mapping[str, Any], beside: str = "") -> str:
    """A row's facts in words, as far as they are known and not said by what stands ``beside`` them."""
    written = {name: _written(name, value) for name, value in raw.items() if name in FACTS}
    return _("；").join(
        f"{_(FACTS[name])} {text}"
        for name, text in written.items()
        if text != UNKNOWN and not (name in ("number", "what") and text in beside)
    )


def _written(name: str, value: Any) -> str:
    if value is None or value == []:
        return UNKNOWN
    if isinstance(value, bool):
        return _("是") if value else _("否")
    if isinstance(value, list):
        return _("、").join(called(one) if isinstance(one, str) else str(one) for one in value)
    if name in WRITERS:
        return WRITERS[name](value)
    if isinstance(value, str):
        return _figure(value)
    return number(value)


def _figure(text: str) -> str:
    """A Decimal as the book keeps it, else the text as it stands."""
    try:
        return number(Decimal(text))
    except InvalidOperation:
        return text


def _moment(text: str) -> str:
    """A moment or a day in the city's time; a month as it stands."""
    try:
        return when(datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text))
    except ValueError:
        return text


def _pool(code: str) -> str:
    known: dict[str, str] = g.setdefault("pool_names", {})
    if not known:
        known.update((one, name) for one, name in reading().execute(select(Pool.code, Pool.name)))
    return known.get(code, code)


def _department(row_id: Any) -> str:
    one = reading().get(Department, int(row_id))
    return one.name if one else str(row_id)


WRITERS: Mapping[str, Callable[[Any], str]] = {
    "number": str,
    "verb": lambda code: _(VERB_LABELS[Verb(code)]),
    "kind": lambda code: kind_label(code) if code in CLASSES else str(code),
    "due_at": _moment, "delivered_at": _moment, "at": _moment, "valid_until": _moment, "on": _moment, "month": str,
    "pool": _pool,
    "department": _department,
    "order": lambda row_id: names.subject(f"order:{row_id}"),
    "rate": lambda share: percent(100 * float(share)),
    "certificate": lambda code: _(CERTIFICATES.get(code, code)),
    "fitness": lambda code: _(FITNESS_LABELS[Fitness(code)]),
    "what": lambda code: _(SEEN.get(code, code)),
    "veto": lambda code: _(FORMS[RecordKind(code)].label),
}  # fmt: skip
"""How a fact is written where it is a code, a moment or a share."""

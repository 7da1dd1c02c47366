"""Versions of fields on record: drafted and signed by two of the authority, in force from the day after at the earliest, never edited. So
the form of a day is settled when it begins, and a request's form is that of the day on which it was first handed in."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from quota import signed
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.errors import N_, Invalid, NotFound
from quota.requests.declarations import RequestKind, declared, kind_of
from quota.requests.formbook.versions import FieldShape, FieldVersion, FormDemand, applied
from quota.signed import TwiceSigned

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.requests.tables import Request

DEFAULTS = Path(__file__).parent / "defaults.json"
"""What a new house asks for: fields and annexes of request kinds, each with the text that real forms ask it by."""
MOST_FIELDS = 60
"""Fields and annexes of a kind's form that are a city's own."""
KEPT = "request_forms"
"""Under this name a transaction's ``info`` has the versions that were enacted, as it read them."""


class RequestFormField(TwiceSigned, Base):
    """表单字段: a version of one field of one request kind, or its draft. ``terms``: unit, bounds and choices, where it has them."""

    __tablename__ = "request_form_fields"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), index=True)
    name: Mapped[str] = mapped_column(String(32))
    shape: Mapped[str] = mapped_column(String(8))
    demand: Mapped[str] = mapped_column(String(8))
    label: Mapped[str] = mapped_column(String(48))
    label_en: Mapped[str] = mapped_column(String(96))
    hint: Mapped[str] = mapped_column(String(300))
    hint_en: Mapped[str] = mapped_column(String(600))
    terms: Mapped[dict[str, Any]]
    effective_from: Mapped[date]

    @property
    def subject(self) -> str:
        return f"request_form_field:{self.id}"

    def says(self) -> FieldVersion:
        """What it says, as a value."""
        return FieldVersion(
            self.name, FieldShape(self.shape), FormDemand(self.demand), self.label, self.label_en, self.hint, self.hint_en,
            **_terms(self.terms),
        )  # fmt: skip


def _terms(raw: dict[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {name: Decimal(raw[name]) for name in ("least", "most") if name in raw}
    return {
        "unit": raw.get("unit", ""), **figures, "choices": tuple((one, other) for one, other in raw.get("choices", ())),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- reading


def form_field(tx: Tx, version_id: int) -> RequestFormField:
    """The version or draft, or NotFound."""
    found = tx.get(RequestFormField, version_id)
    if found is None:
        raise NotFound("form.none", N_("没有编号为 %(id)s 的表单字段"), id=version_id)
    return found


def today(tx: Tx, kind: RequestKind) -> RequestKind:
    """``kind`` with its form as it is now."""
    return _with(tx, kind, tx.now.astimezone(ZONE).date())


def newest(tx: Tx, kind: RequestKind, name: str) -> FieldVersion | None:
    """What the newest version of a field says, in force or to come; None where it has none."""
    said = [version for code, _since, version in _enacted(tx) if (code, version.name) == (kind.code, name)]
    return said[-1] if said else None


def form_of(tx: Tx, request: Request) -> RequestKind:
    """The kind of ``request`` with the form that it is answered by: of the day on which it was first handed in, else today's."""
    on = request.submitted_at or tx.now
    return _with(tx, kind_of(request), on.astimezone(ZONE).date())


def _with(tx: Tx, kind: RequestKind, on: date, without: str = "") -> RequestKind:
    counted = {
        version.name: version  # in the place of its first, as the newest says
        for code, since, version in _enacted(tx)
        if code == kind.code and since <= on and version.name != without
    }
    plain = declared(kind.code)
    return applied(plain, tuple(counted.values())) if counted else plain


def _enacted(tx: Tx) -> list[tuple[str, date, FieldVersion]]:
    """Every version that was enacted, with its kind and its day, in the order in which they come to count; read once a transaction."""
    if KEPT not in tx.info:
        query = select(RequestFormField).where(RequestFormField.enacted_at.is_not(None))
        order = RequestFormField.effective_from, RequestFormField.enacted_at, RequestFormField.id
        tx.info[KEPT] = [(row.kind, row.effective_from, row.says()) for row in tx.scalars(query.order_by(*order))]
    found: list[tuple[str, date, FieldVersion]] = tx.info[KEPT]
    return found


# --------------------------------------------------------------------------------------------------------------- verbs


def draft(tx: Tx, kind_code: str, version: FieldVersion, *, effective_from: date, reason: str) -> RequestFormField:
    """Propose a version of a field. The authority's; who drafts has signed. Raises Invalid for what cannot be applied and for a day
    before tomorrow."""
    said = signed.drafted(tx, reason)
    row = _row(kind_code, version, effective_from, said)
    _sound(tx, row)
    _not_before_tomorrow(tx, effective_from)
    tx.add(row)
    tx.flush()
    tx.audit("request_form.draft", row.subject, after=_told(row), reason=row.reason)
    return row


def sign(tx: Tx, version_id: int) -> RequestFormField:
    """Sign a draft; the second signature enacts it. Raises as ``signed.sign`` does, Invalid where its day has come or where it
    contradicts what was enacted meanwhile."""
    tx.alone("request forms")
    row = form_field(tx, version_id)
    if signed.sign(tx, row, "request_form"):
        tx.info.pop(KEPT, None)
        _sound(tx, row)
        _not_before_tomorrow(tx, row.effective_from)
        tx.audit("request_form.enact", row.subject, after=_told(row))
    return row


def withdraw(tx: Tx, version_id: int) -> RequestFormField:
    """Give a draft up."""
    row = form_field(tx, version_id)
    signed.withdraw(tx, row, "request_form")
    return row


def begin(tx: Tx) -> list[RequestFormField]:
    """Enact what DEFAULTS ask, from today on, in a house that has no form of its own yet. The system's."""
    tx.actor.must_be(Role.SYSTEM)
    if tx.scalar(select(RequestFormField.id).limit(1)) is not None:
        return []
    now = tx.now
    made = []
    for kind_code, asked in json.loads(DEFAULTS.read_text("utf-8")).items():
        for one in asked:
            version = FieldVersion(
                one["name"], FieldShape(one["shape"]), FormDemand(one["demand"]), one["label"], one["label_en"],
                one.get("hint", ""), one.get("hint_en", ""), **_terms(one),
            )  # fmt: skip
            said = {
                "reason": one["source"], "signatures": [], "drafted_by": tx.actor.login, "drafted_at": now, "enacted_at": now,
            }  # fmt: skip
            row = _row(kind_code, version, now.astimezone(ZONE).date(), said)
            _sound(tx, row)
            tx.add(row)
            made.append(row)
    tx.flush()
    tx.info.pop(KEPT, None)
    for row in made:
        tx.audit("request_form.enact", row.subject, after=_told(row), reason=row.reason)
    return made


# ----------------------------------------------------------------------------------------------------------- mechanism


def _row(kind_code: str, version: FieldVersion, effective_from: date, said: dict[str, Any]) -> RequestFormField:
    return RequestFormField(
        kind=kind_code, name=version.name, shape=version.shape.value, demand=version.demand.value, label=version.label,
        label_en=version.label_en, hint=version.hint, hint_en=version.hint_en, terms=version.to_json(),
        effective_from=effective_from, **said,
    )  # fmt: skip


def _sound(tx: Tx, row: RequestFormField) -> None:
    """Raise Invalid for a version that cannot be applied, by itself or beside the others of its form."""
    kind, version = declared(row.kind), row.says()
    if not kind.by_itself:
        raise Invalid("form.kind", N_("“%(kind)s”由系统一并提出，没有自己的表单"), kind=kind.label, field="kind")
    version.sound(kind)
    others = [one for code, _since, one in _enacted(tx) if code == row.kind]
    if any(one.name == row.name and one.shape != row.shape for one in others):
        raise Invalid("form.shape", N_("同一代码的字段类型不能更改，请另设字段"), field="shape")
    beside = _with(tx, kind, row.effective_from, without=row.name)
    labels = [*(one.label for one in beside.fields if one.name != row.name), *(one.label for one in beside.annexes)]
    if version.demand is not FormDemand.DROPPED and version.label in labels:
        raise Invalid("form.twice", N_("表单上已有“%(name)s”"), name=version.label, field="label")
    own = {one.name for one in others if one.shape} | ({row.name} if row.shape else set())
    if len(own) > MOST_FIELDS:
        raise Invalid("form.many", N_("一种申请最多 %(most)s 个自设字段和附件"), most=MOST_FIELDS, field="name")


def _told(row: RequestFormField) -> dict[str, Any]:
    columns = ("kind", "name", "shape", "demand", "label", "label_en", "hint", "hint_en", "terms", "effective_from")
    return {name: value for name in columns if (value := getattr(row, name)) not in ("", {})}


def _not_before_tomorrow(tx: Tx, day: date) -> None:
    if day <= tx.now.astimezone(ZONE).date():
        raise Invalid("form.past", N_("表单最早从明天起生效：当天已按原表单提交的申请不受影响"), field="effective_from")

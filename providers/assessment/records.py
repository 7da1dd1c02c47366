"""What the steward records of a company where no other row of the book speaks of it: drills, backups, security events,
certificates, the year-end review, and what fails a company by itself (一票否决).

A record is kept for good. A wrong one is withdrawn by a further record that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, false, select, true
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship

from providers.assessment.scorecard import Indicator
from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.directory import CloudProvider, provider
from quota.errors import N_, Invalid, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx


class RecordKind(StrEnum):
    REVIEW = "review"
    EVENT = "event"
    MAJOR_EVENT = "major_event"
    VULNERABILITY = "vulnerability"
    BACKUPS = "backups"
    DRILL = "drill"
    CERTIFICATE = "certificate"
    YEAR_END = "year_end"
    LEAK = "leak"
    FALSIFIED = "falsified"
    WITHDRAWAL = "withdrawal"


@dataclass(frozen=True, slots=True)
class Form:
    """What a kind of record needs: its label, the indicator that it speaks for, and which figures it states."""

    label: str
    indicator: Indicator | None
    needs: tuple[str, ...] = ()
    veto: bool = False


FORMS: Mapping[RecordKind, Form] = {
    RecordKind.REVIEW: Form(N_("安全核查(当月无事件)"), Indicator.SECURITY),
    RecordKind.EVENT: Form(N_("一般安全事件"), Indicator.SECURITY),
    RecordKind.MAJOR_EVENT: Form(N_("重大安全事件"), Indicator.SECURITY),
    RecordKind.VULNERABILITY: Form(N_("高危漏洞逾期未修复"), Indicator.SECURITY, ("count",)),
    RecordKind.BACKUPS: Form(N_("备份任务统计"), Indicator.BACKUP, ("due", "done")),
    RecordKind.DRILL: Form(N_("恢复演练"), Indicator.BACKUP, ("passed",)),
    RecordKind.CERTIFICATE: Form(N_("合规证书"), Indicator.COMPLIANCE, ("certificate", "valid_until")),
    RecordKind.YEAR_END: Form(N_("年终评审"), None, ("points",)),
    RecordKind.LEAK: Form(N_("数据泄露(一票否决)"), Indicator.SECURITY, veto=True),
    RecordKind.FALSIFIED: Form(N_("计量造假(一票否决)"), Indicator.METERING, veto=True),
    RecordKind.WITHDRAWAL: Form(N_("撤销记录"), None),
}

CERTIFICATES: Mapping[str, str] = {
    "mlps3": N_("等保三级测评"),
    "crypto": N_("密码应用安全性评估"),
    "cloud_security": N_("云计算服务安全评估"),
}
"""What every company's platform must hold, in date."""


class AssessmentRecord(Base):
    """One thing that the steward recorded. ``figures``: what its kind needs; ``happened_on`` decides its month;
    ``withdraws``: the record that it takes back."""

    __tablename__ = "assessment_records"
    __table_args__ = (
        Index("ix_assessment_records_provider_id_happened_on", "provider_id", "happened_on"),
        Index("ix_assessment_records_happened_on_id", "happened_on", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"))
    kind: Mapped[str] = mapped_column(String(16))
    happened_on: Mapped[date]
    valid_until: Mapped[date | None]
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)
    note: Mapped[str] = mapped_column(Text)
    withdraws: Mapped[int | None] = mapped_column(ForeignKey("assessment_records.id"), unique=True)
    recorded_at: Mapped[datetime]
    recorded_by: Mapped[str] = mapped_column(String(64))

    provider: Mapped[CloudProvider] = relationship()
    withdrawal: Mapped[AssessmentRecord | None] = relationship(
        primaryjoin="AssessmentRecord.id == foreign(remote(AssessmentRecord.withdraws))", uselist=False, viewonly=True
    )
    """The record that takes this one back."""

    @property
    def form(self) -> Form:
        return FORMS[RecordKind(self.kind)]


append_only(AssessmentRecord.__table__)  # type: ignore[arg-type]


def enter(
    tx: Tx,
    provider_id: int,
    kind: RecordKind,
    happened_on: date,
    note: str,
    *,
    figures: Mapping[str, Any] | None = None,
    valid_until: date | None = None,
) -> AssessmentRecord:
    """Record something. Raises Invalid naming the field that is missing or makes no sense."""
    tx.actor.must_be(Role.SUPERVISOR)
    company = provider(tx, provider_id)
    if kind is RecordKind.WITHDRAWAL:
        raise Invalid("record.kind", N_("请选择记录类型"), field="kind")
    if happened_on > tx.now.astimezone(ZONE).date():
        raise Invalid("record.future", N_("日期不能晚于今天"), field="happened_on")
    stated(note, "note", code="record.note", message=N_("请写明依据(文号、报告、日志)"))
    form = FORMS[kind]
    kept = _figures(form, figures or {})
    if "valid_until" in form.needs and valid_until is None:
        raise Invalid("record.until", N_("请填写有效期至"), field="valid_until")
    if valid_until is not None and valid_until < happened_on:
        raise Invalid("record.until", N_("有效期不能早于发证日期"), field="valid_until")
    return _keep(tx, company.id, kind, happened_on, note, kept, valid_until if "valid_until" in form.needs else None)


def withdraw(tx: Tx, record_id: int, note: str) -> AssessmentRecord:
    """Take a record back, with a reason; once."""
    tx.actor.must_be(Role.SUPERVISOR)
    found = record(tx, record_id)
    if found.kind == RecordKind.WITHDRAWAL or found.withdrawal is not None:
        raise WrongState("record.withdrawn", N_("这条记录已经撤销"))
    stated(note, "note")
    return _keep(tx, found.provider_id, RecordKind.WITHDRAWAL, tx.now.astimezone(ZONE).date(), note, {}, None, found.id)


def record(tx: Tx, record_id: int) -> AssessmentRecord:
    """The record, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(AssessmentRecord).where(AssessmentRecord.id == record_id, visible(tx.actor)))
    if found is None:
        raise NotFound("record.none", N_("没有编号为 %(id)s 的考核记录"), id=record_id)
    return found


def standing(tx: Tx, provider_id: int, *kinds: RecordKind) -> list[AssessmentRecord]:
    """A company's records of ``kinds`` that were not withdrawn, oldest first."""
    taken_back = aliased(AssessmentRecord)
    return list(
        tx.scalars(
            select(AssessmentRecord)
            .where(
                AssessmentRecord.provider_id == provider_id,
                AssessmentRecord.kind.in_([one.value for one in kinds]),
                ~select(taken_back.id).where(taken_back.withdraws == AssessmentRecord.id).exists(),
            )
            .order_by(AssessmentRecord.happened_on, AssessmentRecord.id)
        )
    )


def year_end(tx: Tx, provider_id: int, year: int) -> Decimal | None:
    """Points of the year-end review of ``year``: the latest that stands; None where there is none."""
    found = [one for one in standing(tx, provider_id, RecordKind.YEAR_END) if one.happened_on.year == year]
    return Decimal(str(found[-1].figures["points"])) if found else None


def visible(actor: Actor) -> ColumnElement[bool]:
    """A company its own, the steward, the authority and the auditor all."""
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        return AssessmentRecord.provider_id == actor.provider_id
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def _figures(form: Form, given: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name in form.needs:
        value = given.get(name)
        if name == "valid_until":
            continue
        if name == "passed":
            kept[name] = bool(value)
        elif name == "certificate":
            if value not in CERTIFICATES:
                raise Invalid("record.certificate", N_("请选择证书"), field="certificate")
            kept[name] = value
        elif name == "points":
            if value is None or not 0 <= value <= 100:
                raise Invalid("record.points", N_("请填写 0 至 100 分"), field="points")
            kept[name] = str(value)
        elif value is None or not 0 <= int(value) <= 10**9:
            raise Invalid("record.count", N_("请填写不小于 0 的整数"), field=name)
        else:
            kept[name] = int(value)
    if "done" in kept and kept["done"] > kept["due"]:
        raise Invalid("record.done", N_("成功次数不能多于应备份次数"), field="done")
    return kept


def _keep(
    tx: Tx,
    provider_id: int,
    kind: RecordKind,
    happened_on: date,
    note: str,
    figures: dict[str, Any],
    valid_until: date | None,
    withdraws: int | None = None,
) -> AssessmentRecord:
    one = AssessmentRecord(
        provider_id=provider_id, kind=kind.value, happened_on=happened_on, valid_until=valid_until, figures=figures,
        note=note.strip()[:4000], withdraws=withdraws, recorded_at=tx.now, recorded_by=tx.actor.login,
    )  # fmt: skip
    tx.add(one)
    tx.flush()
    tx.audit(
        "record.withdraw" if withdraws else "record.enter", f"record:{one.id}",
        after={"provider": provider_id, "kind": kind, "on": happened_on, "until": valid_until, "figures": figures,
               "withdraws": withdraws}, reason=one.note,
    )  # fmt: skip
    return one

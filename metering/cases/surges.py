"""Surges: what the look within the day found of a machine, and what came of it; a row for each look that did something.

The rows are the evidence of the cases that a look opened, and of each prolongation and return of what it enlarged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Float, ForeignKey, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.cases import windows
from metering.cases.authorisations import Authorisation
from metering.cases.files import Case
from metering.cases.steps import CaseState, Consent
from metering.judging import CaseKind
from providers.base import ResourceState, ServiceKind
from quota.base import Base, append_only
from quota.db import among
from quota.errors import N_
from quota.units import MEMORY, VCPU, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx


class SurgeOutcome(StrEnum):
    """begun: enlarged on a standing authorisation; raised: enlarged once more, as that was not enough; proposed: the department was asked; prolonged; blind: its time was over
    and nothing known, so it stays; calm: it does without, and is given back."""

    BEGUN = "begun"
    RAISED = "raised"
    PROPOSED = "proposed"
    PROLONGED = "prolonged"
    BLIND = "blind"
    CALM = "calm"


OUTCOME_LABELS = {
    SurgeOutcome.BEGUN: N_("按常备授权扩容"),
    SurgeOutcome.RAISED: N_("仍不够用,再次扩容"),
    SurgeOutcome.PROPOSED: N_("通知使用单位"),
    SurgeOutcome.PROLONGED: N_("仍然饱和,延长"),
    SurgeOutcome.BLIND: N_("数据不足,保持现规格"),
    SurgeOutcome.CALM: N_("已不饱和,归还"),
}

WHY = {
    "unauthorised": N_("未即时扩容:该系统没有常备授权"),
    "ceiling": N_("未即时扩容:超出常备授权的同时扩容上限"),
    "window": N_("未即时扩容:不在变更窗口内,或处于封网期"),
    "live_resize": N_("未即时扩容:该资源池不能在线调整规格"),
    "quota": N_("未即时扩容:使用单位配额余额不足"),
}
"""Why a machine was not enlarged at once and the department is asked instead: code → words."""

SKIPS = {
    "done": N_("这一时刻已查看过"),
    "absent": N_("资源已不存在或状态异常"),
    "ownerless": N_("没有使用单位"),
    "unapproved": N_("未经批准,尚未计入配额"),
    "changed": N_("采样时的规格与台账不符"),
    "unsized": N_("台账没有写明vCPU，无从扩容"),
    "unjudged": N_("还没有评估结论"),
    "open_case": N_("已有在办案件"),
    "open_request": N_("已有在办申请"),
    "quiet": N_("尚在静默期"),
    "told": N_("静默期内已通知过使用单位"),
    "protected": N_("受保护"),
    "exempt": N_("豁免期内"),
    "system_slack": N_("同一系统内有空闲云主机,宜先均衡负载"),
    "no_target": N_("临时扩容幅度内没有更大的目录规格"),
    "shadow": N_("试运行,尚未启用处置"),
    "letters": N_("本周通知已满,排队等候"),
    "department_letters": N_("该单位本周通知已满,排队等候"),
    "held": N_("扩容期内"),
    "kept": N_("受保护、豁免或有在办申请,暂不归还"),
    "blind": N_("数据不足,保持现规格"),
    "revoked": N_("常备授权已撤销或到期,不再延长"),
    "term": N_("已到临时扩容的最长期限,不再延长"),
}
"""Why nothing was done although the rule held: code → words."""

FRESH = timedelta(hours=4)
"""For how long a look that found a machine calm is ground enough to make it smaller."""

HOUR = timedelta(hours=1)
"""What a look looks at."""

ABANDONED = timedelta(hours=24)
"""After so long without a look the nightly judgement decides on the return, as on any other temporary growth."""


RESTARTED = (ServiceKind.VM.value, ServiceKind.DATABASE.value, ServiceKind.MIDDLEWARE.value)
"""Kinds that have vCPU which a cloud changes, and that other vCPU or memory restarts, where their cloud does not resize live. Cards are put into what is shut down, in any cloud."""

WAITING = frozenset({CaseState.NOTICED, CaseState.DISPUTED, CaseState.CLEARED, CaseState.ORDERED})
"""States in which a growth that the department was asked about is not carried out yet."""


class Surge(Base):
    """One look, at ``at`` (the end of the hour that was looked at). ``samples`` of 12 were known, ``over`` of them at or
    above the line; ``top``: the largest, % of what is in force; ``size``: how much of ``cls`` is underneath; ``wanted``: how much of it the rule
    wants; ``until``: when what it enlarged is returned. ``why``: a code of WHY. ``sizing``: the sizing's name, or the gauge's of
    what is no CPU."""

    __tablename__ = "surges"
    __table_args__ = (UniqueConstraint("resource_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"))
    at: Mapped[datetime]
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"))
    sizing: Mapped[str] = mapped_column(String(64))
    cls: Mapped[ClassCode] = mapped_column(String(24), default=VCPU, server_default=VCPU)
    outcome: Mapped[str] = mapped_column(String(12))
    why: Mapped[str] = mapped_column(String(16), default="")
    authorisation_id: Mapped[int | None] = mapped_column(ForeignKey("authorisations.id"))
    samples: Mapped[int]
    over: Mapped[int]
    top: Mapped[float | None] = mapped_column(Float)
    size: Mapped[int]
    wanted: Mapped[float] = mapped_column(Float)
    until: Mapped[datetime | None]
    made_at: Mapped[datetime]

    case: Mapped[Case] = relationship()
    authorisation: Mapped[Authorisation | None] = relationship()


append_only(Surge.__table__)  # type: ignore[arg-type]


def of_case(tx: Tx, case_id: int) -> list[Surge]:
    """The looks of a case, oldest first."""
    return list(tx.scalars(select(Surge).where(Surge.case_id == case_id).order_by(Surge.at)))


def last(tx: Tx, case_id: int) -> Surge | None:
    """The latest look of a case; None where no look opened it."""
    return tx.scalar(select(Surge).where(Surge.case_id == case_id).order_by(Surge.at.desc()).limit(1))


def on_loan(case: Case) -> bool:
    """Whether a case enlarges (or enlarged) its machine on a standing authorisation: then the look within the day says when it ends."""
    return case.consent == Consent.STANDING


@dataclass(frozen=True, slots=True)
class WindowWait:
    """What a growth that restarts its machine waits for, and what that costs: ``opens``, when its pool may next be changed; minutes at the
    ceiling, ``suffered`` since the hour that was looked at began and ``minutes`` until it opens, were all of them like that hour; None
    where no look was taken, but a night's judgement opened it."""

    opens: datetime
    suffered: int | None
    minutes: int | None


def restarts(tx: Tx, case: Case) -> bool:
    """Whether what a case enlarges is shut down for it, there and back, which is done inside change windows."""
    return case.kind == CaseKind.EXPAND and shuts_down(tx, case)


def shuts_down(tx: Tx, case: Case) -> bool:
    """Whether the size of what a case is about is not changed while it runs: a running machine gets cards, or other vCPU or memory in a
    pool whose adapter said, or a look found, that it does not change running machines."""
    known = _shut_down(case)
    if known is not None:
        return known
    cold = select(Surge.id).where(Surge.case_id == case.id, Surge.why == "live_resize")
    return tx.scalar(cold.limit(1)) is not None


def _shut_down(case: Case) -> bool | None:
    """As `shuts_down`; None where its pool's adapter did not say, and a look alone can tell."""
    if case.kind == CaseKind.RECLAIM or case.resource.state == ResourceState.STOPPED:
        return False
    if case.resource.kind == ServiceKind.ACCELERATOR:
        return True
    if case.resource.kind not in RESTARTED:
        return False
    if not {VCPU, MEMORY} & set(case.recovers()):
        return False  # a disk or a line grows beside it
    return None if case.pool.live_resize is None else not case.pool.live_resize


def waiting(tx: Tx, cases: Iterable[Case]) -> dict[int, WindowWait]:
    """Case id → what it waits for, of the growths that restart their machine and are not carried out yet; others are absent."""
    asked = [
        one
        for one in cases
        if one.kind == CaseKind.EXPAND
        and one.state in WAITING
        and one.effective_at is None
        and _shut_down(one) is not False
    ]
    looks: dict[int, list[Surge]] = {}
    query = select(Surge).where(among(Surge.case_id, [one.id for one in asked])).order_by(Surge.at)
    for row in tx.scalars(query) if asked else ():
        looks.setdefault(row.case_id, []).append(row)
    opens: dict[int, datetime] = {}
    found: dict[int, WindowWait] = {}
    for one in asked:
        seen = looks.get(one.id, [])
        if not (_shut_down(one) or any(row.why == "live_resize" for row in seen)):
            continue
        if one.pool_id not in opens:
            opens[one.pool_id] = windows.opening(tx, one.pool_id, restarts=True)
        found[one.id] = _wait(opens[one.pool_id], seen[-1] if seen else None, tx.now)
    return found


def _wait(opens: datetime, row: Surge | None, now: datetime) -> WindowWait:
    if row is None:
        return WindowWait(opens, None, None)
    share = row.over / row.samples if row.samples else 0.0
    since, ahead = ((end - begin).total_seconds() / 60 for begin, end in ((row.at - HOUR, now), (now, opens)))
    return WindowWait(opens, round(share * since), round(share * ahead))


def calm(tx: Tx, case: Case) -> bool:
    """Whether a look has just found that what a case enlarged does without it."""
    row = last(tx, case.id) if on_loan(case) else None
    return row is not None and row.outcome == SurgeOutcome.CALM and row.at > tx.now - FRESH

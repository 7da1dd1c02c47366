"""What the demo city supervises: two items in force, an alert that waits for the supervisor, and one that a department has answered."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import select

from metering.supervision import Answerer, SupervisionAlert, SupervisionLevel, SupervisionSide, alerts, items
from metering.workbench import Workbench
from quota.actors import Actor, steward
from quota.calendar import ZONE

LATE = items.SupervisionTerms(
    "SP-01", "示例：逾期未办的申请", "late_requests", "city", SupervisionSide.ABOVE, Decimal(0), 0, SupervisionLevel.WARNING,
    Answerer.SUPERVISOR, 3, means="系统每小时统计办理时限已过、尚未办结的资源申请", requirement="三个工作日内说明原因并督促办结",
    tells_authority=True,
)  # fmt: skip
ENDED = items.SupervisionTerms(
    "XX-01", "示例：到期未续的授权与证书", "ended_entries", "department", SupervisionSide.ABOVE, Decimal(0), 0, SupervisionLevel.NOTICE,
    Answerer.TENANT, 5, means="系统每小时比对各单位登记的到期事项", requirement="续期、收回或登记退出，并答复处理情况",
)  # fmt: skip


def live(workbench: Workbench, authorities: Sequence[Actor], clerk: Actor) -> None:
    """Drafted by one of the authority, signed by another; the job looks, and the department of ``clerk`` answers."""
    for terms in (LATE, ENDED):
        with workbench.book.transaction(authorities[0]) as tx:
            today = tx.now.astimezone(ZONE).date()
            drafted = items.draft(tx, terms, today, "示例：政务云监管事项目录").id
        with workbench.book.transaction(authorities[1]) as tx:
            items.sign(tx, drafted)
    with workbench.book.transaction(steward("job:supervise")) as tx:
        alerts.look(tx)
    with workbench.book.transaction(clerk) as tx:
        own = select(SupervisionAlert).where(SupervisionAlert.department_id == clerk.department_id)
        for one in tx.scalars(own.where(SupervisionAlert.code == ENDED.code)).all():
            alerts.answer(tx, one.id, "示例：许可续费已列入本月采购；外包人员账号当日已收回", generation=one.generation)

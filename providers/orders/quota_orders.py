"""Orders that set a department's quota in a cloud to what the book gave it: decided by a person, for one project, each time anew.
A reading never sets anything; it shows afterwards whether the two agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from providers.base import ServiceKind, Verb
from providers.observation import cloud_figures, quota_drifts
from providers.orders.placing import place
from providers.orders.tables import UNDER_WAY, OrderState, WorkOrder
from quota.actors import Role
from quota.directory import Department, Pool, departments
from quota.errors import N_, Conflict, Invalid, stated
from quota.inventory import CloudProject
from quota.units import ClassCode

if TYPE_CHECKING:
    from quota.db import Tx


@dataclass(frozen=True, slots=True)
class QuotaPlan:
    """What the cloud shall let a department have in its only project there: ``now`` as the cloud said last (None: without
    limit), ``limits`` by the book, with what is held for requests under way. ``beside``: the other pools of the same cloud, whose
    books count with this one's: the project has one quota for all. Base units."""

    pool: Pool
    department: Department
    project: CloudProject
    now: Mapping[ClassCode, int | None]
    limits: Mapping[ClassCode, int]
    beside: Sequence[Pool] = ()

    @property
    def changes(self) -> dict[ClassCode, int]:
        """What of it is another than it is."""
        return {kind: most for kind, most in self.limits.items() if self.now.get(kind) != most}


def planned(tx: Tx, pool: Pool, department_id: int) -> QuotaPlan:
    """What an order would set. Raises Invalid where the department has no project in that cloud, or several, of which nobody
    knows how it is shared out; where another pool of the same cloud has the project as another department's; or where the cloud
    keeps no quota."""
    department = departments.department(tx, department_id)
    query = select(CloudProject).where(CloudProject.pool_id == pool.id, CloudProject.department_id == department.id)
    projects = list(tx.scalars(query.order_by(CloudProject.id)))
    beside = quota_drifts.of_same_cloud(tx, pool.id)
    if not projects:
        raise Invalid(
            "quota_order.no_project",
            N_("%(name)s在这个资源池没有云侧项目,请先确定项目的使用单位"),
            name=department.name,
        )
    elsewhere = list(
        tx.scalars(
            select(CloudProject).where(
                CloudProject.pool_id.in_([one.id for one in beside]), CloudProject.department_id.is_not(None)
            )
        )
    )
    own = {one.external_id for one in (*projects, *elsewhere) if one.department_id == department.id}
    if len(own) > 1:
        raise Invalid(
            "quota_order.several", N_("%(name)s在这个资源池有%(n)s个云侧项目,如何分配须在云上设置"),
            name=department.name, n=len(own),
        )  # fmt: skip
    if any(one.external_id in own and one.department_id != department.id for one in elsewhere):
        raise Invalid(
            "quota_order.disputed",
            N_("同一云平台的另一资源池把云侧项目“%(project)s”定为别的单位使用,请先核对"),
            project=projects[0].called,
        )
    told = cloud_figures.quotas(tx, projects).get(projects[0].id, [])
    if not told:
        raise Invalid("quota_order.untold", N_("云平台没有报出这个项目的配额"))
    given = quota_drifts.given(tx, pool.id, department.id)
    now: dict[ClassCode, int | None] = {ClassCode(one.kind): one.most for one in told}
    return QuotaPlan(pool, department, projects[0], now, {kind: given.get(kind, 0) for kind in now}, beside)


def order(tx: Tx, pool: Pool, department_id: int, reason: str, *, key: str) -> WorkOrder:
    """Place an order that sets what differs; the same ``key`` again returns the first. Raises as ``planned`` does, Invalid without
    a reason or where nothing differs, Conflict where one for that project is under way."""
    tx.actor.must_be(Role.SUPERVISOR)
    reason = stated(reason)
    tx.alone(f"quota_order:{pool.provider_id}")  # pools of one cloud are of one company
    earlier = tx.scalar(select(WorkOrder).where(WorkOrder.key == key))
    if earlier is not None:
        return earlier
    plan = planned(tx, pool, department_id)
    if not plan.changes:
        raise Invalid("quota_order.same", N_("云上配额与账面一致,不用设置"))
    open_ = select(WorkOrder).where(
        WorkOrder.pool_id.in_([pool.id, *(one.id for one in plan.beside)]),
        WorkOrder.department_id == department_id, WorkOrder.verb == Verb.SET_QUOTA.value,
        WorkOrder.state.in_([*UNDER_WAY, OrderState.FAILED]),
    )  # fmt: skip
    if (under_way := tx.scalar(open_.limit(1))) is not None:
        raise Conflict(
            "quota_order.open", N_("工单 %(number)s 正在设置这个项目的配额,请等它办结"), number=under_way.number
        )
    payload = {
        "project": plan.project.external_id,
        "limits": {str(kind): most for kind, most in plan.changes.items()},
        "before": {str(kind): plan.now[kind] for kind in plan.changes},
        "reason": reason,
    }
    return place(
        tx, pool, Verb.SET_QUOTA, key=key, kind=ServiceKind.PROJECT, name=plan.project.called[:128],
        department_id=department_id, payload=payload,
    )  # fmt: skip

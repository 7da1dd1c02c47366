"""The demo city's tickets: one in each state, of one department, by the verbs of its people and of its companies' staff."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from metering.workbench import Workbench
from providers.tickets import TicketKind, handling
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Person, Pool
from quota.inventory import Resource


def live(workbench: Workbench) -> None:
    """File, answer, ask, solve and confirm."""
    with workbench.book.reading() as tx:
        found = _parties(tx)
    if found is None:
        return
    clerk, operator, machine = found

    def filed(kind: TicketKind, level: int, title: str, said: str, **about: Any) -> int:
        with workbench.book.transaction(clerk) as tx:
            return handling.file(tx, kind, level, title, said, **about).id

    def did(who: Actor, verb: Any, number: int, said: str) -> None:
        with workbench.book.transaction(who) as tx:
            verb(tx, number, None, said)

    filed(TicketKind.FAULT, 2, "示例：登录缓慢", "示例：今天九点起登录要一分钟，全部用户", resource_id=machine)
    port = filed(
        TicketKind.PORT, 3, "示例：开放 443 端口", "示例：互联网区到本机，TCP 443，对外服务，长期", resource_id=machine
    )
    did(operator, handling.answer, port, "示例：由网络组处理")
    with workbench.book.transaction(operator) as tx:
        handling.say(tx, port, "示例：已排入今晚的变更窗口")
    asked = filed(TicketKind.CHANGE, 4, "示例：调整备份时间", "示例：改到凌晨以后", resource_id=machine)
    did(operator, handling.ask, asked, "示例：具体几点？")
    solved = filed(TicketKind.RESTORE, 3, "示例：恢复误删的目录", "示例：恢复到昨天 18 点", resource_id=machine)
    did(operator, handling.solve, solved, "示例：已恢复，校验一致")
    over = filed(TicketKind.FAULT, 3, "示例：时钟偏差", "示例：本机时间慢三分钟", resource_id=machine)
    did(operator, handling.solve, over, "示例：已改用内网时间源")
    did(clerk, handling.confirm, over, "示例：时间已准")
    filed(TicketKind.ADVICE, 4, "示例：三级系统的网络区怎样选", "示例：新系统按三级建设")


def _parties(tx: Tx) -> tuple[Actor, Actor, int] | None:
    """A department's clerk, the staff of the company of one of its machines, and that machine; None where there are none."""
    clerk = tx.scalars(select(Person).where(Person.role == Role.TENANT.value).order_by(Person.id)).first()
    if clerk is None:
        return None
    of_it = (
        select(Resource, Pool)
        .join(Resource.pool)
        .where(Resource.department_id == clerk.department_id, Resource.gone_at.is_(None))
        .order_by(Resource.id)
    )
    there = tx.execute(of_it.limit(1)).first()
    if there is None:
        return None
    machine, pool = there
    staff = tx.scalars(
        select(Person)
        .where(Person.role == Role.PROVIDER.value, Person.provider_id == pool.provider_id)
        .order_by(Person.id)
    ).first()
    if staff is None:
        return None
    return (
        Actor(clerk.login, clerk.name, Role.TENANT, department_id=clerk.department_id),
        Actor(staff.login, staff.name, Role.PROVIDER, provider_id=staff.provider_id),
        machine.id,
    )

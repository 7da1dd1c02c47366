"""Parties: who takes a step of a request, found when it is handed in; and whether a house has the people for its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from quota.actors import ROLE_LABELS, Role
from quota.directory import Department, Person
from quota.errors import N_, Invalid
from quota.requests.rules import Party, Step, StepName, Unit, Whose
from quota.requests.tables import Request, RequestStep

if TYPE_CHECKING:
    from quota.db import Tx


def rows(tx: Tx, request: Request, step: Step) -> list[RequestStep]:
    """A row for each party of ``step``. Raises Invalid where a party is not there: a department that is closed, a person without an
    account, nobody above the applicant."""
    found = [_row(tx, request, step, one) for one in step.parties]
    for row in found:
        row.need = step.need
    return found


def _row(tx: Tx, request: Request, step: Step, party: Party) -> RequestStep:
    role, department, person = _whose(tx, request, step, party)
    limit = _limit(request, step)
    return RequestStep(
        round=request.round,
        sequence=0,
        name=str(step.name),
        label=step.label,
        stage=step.stage,
        role=role.value,
        department_id=department.id if department is not None else None,
        person=person,
        limit=limit,
        unit=step.unit.value,
        record=step.record,
        replaces=list(step.replaces),
        supplement_days=step.supplement_days,
        rule=step.rule,
        because=list(step.because),
    )


def _whose(tx: Tx, request: Request, step: Step, party: Party) -> tuple[Role, Department | None, str | None]:
    """The role, the department and the person that a party is for ``request``."""
    if party.role is not None:  # acceptance, a tenant's, is the applicant's as the request is
        return party.role, None, None
    if party.of is Whose.PROVIDER:
        return Role.PROVIDER, None, None
    if party.of is Whose.APPLICANT:
        return Role.TENANT, request.department, None
    if party.of is Whose.ABOVE:
        if request.department.parent is None:
            raise _absent(step, N_("申请单位没有上级单位"))
        return Role.TENANT, request.department.parent, None
    if party.department:
        department = _department(tx, party.department)
        if department is None:
            raise _absent(step, N_("规则所指的单位不存在或已停用"))
        return Role.TENANT, department, None
    someone = _person(tx, party.person)
    if someone is None:
        raise _absent(step, N_("规则所指的人员没有可用账号"))
    return Role(someone.role), someone.department, someone.login


def _department(tx: Tx, code: str) -> Department | None:
    return tx.scalar(select(Department).where(Department.code == code, Department.active))


def _person(tx: Tx, login: str) -> Person | None:
    """Who may sign in person: no company's staff, no administrator, no program."""
    signs = (Role.SUPERVISOR.value, Role.AUTHORITY.value, Role.TENANT.value)
    return tx.scalar(
        select(Person).where(
            Person.login == login, Person.active, Person.granted, ~Person.service, Person.role.in_(signs)
        )
    )


def _absent(step: Step, why: str) -> Invalid:
    return Invalid(
        "rules.party", N_("审批规则 %(rule)s 的步骤“%(step)s”无人可办:%(why)s"), rule=step.rule, step=step.label, why=why, field="kind"
    )  # fmt: skip


def _limit(request: Request, step: Step) -> int:
    """Its limit; of a delivery in working days what the catalogue promises, where the request names its items."""
    if step.name == StepName.DELIVERY and step.unit is Unit.WORKING_DAYS:
        promised = [line.item.delivery_days for line in request.lines if line.item is not None]
        if promised:
            return max(promised)
    return step.limit


# ------------------------------------------------------------------------------------------------------------ staffing


@dataclass(frozen=True, slots=True)
class Shortage:
    """A party that a house has not the people for: how many it needs on one path, since nobody takes two steps of a request, and
    how many there are."""

    party: str
    steps: Sequence[Step]
    needed: int
    there: int


def shortages(tx: Tx, paths: Iterable[Sequence[Step]]) -> list[Shortage]:
    """What people the house lacks for ``paths``, each party once, with the path that asks most of it. Of departments that hang on
    the request nothing is said here: that is told when it is handed in."""
    most: dict[Party, list[Step]] = {}
    for path in paths:
        asked: dict[Party, list[Step]] = {}
        for step in path:
            if step.signs:
                for party in step.parties:
                    asked.setdefault(party, []).append(step)
        for party, steps in asked.items():
            if len(steps) > len(most.get(party, ())):
                most[party] = steps
    there = _people(tx)
    found = []
    for party, steps in most.items():
        count = _there(tx, party, there)
        if count is not None and count[1] < len(steps):
            found.append(Shortage(count[0], steps, len(steps), count[1]))
    return found


def _people(tx: Tx) -> Mapping[str, int]:
    """Role → how many people hold it who may act in person."""
    query = select(Person.role, func.count()).where(Person.active, Person.granted, ~Person.service)
    return Counter(dict(tx.execute(query.group_by(Person.role)).all()))


def _there(tx: Tx, party: Party, roles: Mapping[str, int]) -> tuple[str, int] | None:
    """What a party is called, and how many people it has; None for one that hangs on the request."""
    if party.role is not None and party.role is not Role.TENANT:
        return ROLE_LABELS[party.role], roles.get(party.role.value, 0)
    if party.person:
        someone = _person(tx, party.person)
        return (someone.name if someone is not None else party.person), int(someone is not None)
    if party.department:
        department = _department(tx, party.department)
        if department is None:
            return party.department, 0
        people = select(func.count()).where(
            Person.department_id == department.id, Person.active, Person.granted, ~Person.service
        )
        return department.name, tx.scalar(people) or 0
    return None

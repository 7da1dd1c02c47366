"""Whose a cloud's project is: told by listings, suggested by what it is called, decided by a person for all that lies in it.

A project that nobody has decided about is listed until somebody does; what lies in it is entered meanwhile without an owner,
or with the one that its tags name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import aliased

from quota.actors import Role
from quota.db import among
from quota.directory import Department, Pool, departments
from quota.errors import N_, Invalid, NotFound, stated
from quota.inventory import owners
from quota.inventory.cloud_projects import CloudProject
from quota.inventory.owners import Suggestion
from quota.inventory.resources import Resource, reassign

if TYPE_CHECKING:
    from quota.db import Tx


class ProjectNames(NamedTuple):
    """What a cloud calls a project; what is empty is not known this time, and stays as it was told before."""

    name: str = ""
    domain: str = ""
    tags: tuple[str, ...] = ()


def enter(tx: Tx, pool_id: int, told: Mapping[str, ProjectNames], as_of: datetime) -> dict[str, CloudProject]:
    """Projects as a listing tells of them, by their ids in the cloud: new ones are added, names are brought up to date, and
    none is ever taken away. Returns all of the pool's."""
    known = {one.external_id: one for one in tx.scalars(select(CloudProject).where(CloudProject.pool_id == pool_id))}
    for external_id, names in told.items():
        row = known.get(external_id)
        if row is None:
            row = CloudProject(
                pool_id=pool_id, external_id=external_id, name="", domain="", tags=[], mapped_by="", reason="",
                first_seen_at=as_of, last_seen_at=as_of,
            )  # fmt: skip
            tx.add(row)
            known[external_id] = row
        row.name, row.domain = names.name[:128] or row.name, names.domain[:128] or row.domain
        row.tags = list(names.tags) or row.tags
        row.last_seen_at = max(row.last_seen_at, as_of)
    tx.flush()
    return known


def suggest(tx: Tx, projects: Iterable[CloudProject]) -> Mapping[int, Suggestion]:
    """Project id → whose it seems to be: as it was decided in another pool of the same company's cloud, or else by the codes and
    names of departments and systems in its name and tags."""
    undecided = {one.id: one for one in projects if one.department_id is None}
    found = dict(owners.named(tx, {id_: [one.name, *one.tags] for id_, one in undecided.items()}))
    own = aliased(CloudProject)
    other = (
        select(Pool.provider_id, CloudProject.external_id, Department, Pool.name)
        .join(Pool, Pool.id == CloudProject.pool_id)
        .join(Department, Department.id == CloudProject.department_id)
        .where(Department.active, CloudProject.external_id.in_(select(own.external_id).where(among(own.id, undecided))))
        .order_by(CloudProject.id)
    )
    companies = dict(tx.execute(select(Pool.id, Pool.provider_id)).all())
    decided = {(company, id_): Suggestion(department, pool) for company, id_, department, pool in tx.execute(other)}
    for number, one in undecided.items():
        elsewhere = decided.get((companies[one.pool_id], one.external_id))
        if elsewhere is not None:
            found[number] = elsewhere
    return found


def resources_in(tx: Tx, project_ids: Iterable[int]) -> dict[int, int]:
    """Project id → how many resources lie in it now."""
    query = (
        select(Resource.project_id, func.count(Resource.id))
        .where(among(Resource.project_id, sorted(set(project_ids))), Resource.gone_at.is_(None))
        .group_by(Resource.project_id)
    )
    return {project_id: count for project_id, count in tx.execute(query) if project_id is not None}


def project(tx: Tx, project_id: int) -> CloudProject:
    """The project, or NotFound."""
    found = tx.get(CloudProject, project_id)
    if found is None:
        raise NotFound("project.none", N_("没有编号为 %(id)s 的云侧项目"), id=project_id)
    return found


def assign(tx: Tx, pool_id: int, project_ids: Iterable[int], department_id: int | None, reason: str) -> int:
    """These projects of the pool are the department's from now on (None: nobody's again), and with them whatever in them
    nobody has approved yet; what was approved keeps its owner, and is shown as a difference. Returns how many resources moved.

    Raises Invalid without a reason or where nothing is chosen, NotFound for a project of another pool, WrongState for a
    department that has ended.
    """
    tx.actor.must_be(Role.SUPERVISOR)
    reason = stated(reason)
    wanted = sorted(set(project_ids))
    if not wanted:
        raise Invalid("project.nothing", N_("请选择云侧项目"), field="id")
    if department_id is not None:
        departments.must_be_open(departments.department(tx, department_id), "department")
    rows = {one: project(tx, one) for one in wanted}
    strange = next((one for one, row in rows.items() if row.pool_id != pool_id), None)
    if strange is not None:
        raise NotFound("project.none", N_("没有编号为 %(id)s 的云侧项目"), id=strange)
    before = {one: row.department_id for one, row in rows.items()}
    tx.execute(
        update(CloudProject)
        .where(among(CloudProject.id, wanted))
        .values(department_id=department_id, mapped_by=tx.actor.login, mapped_at=tx.now, reason=reason)
    )
    moved: list[int] = []
    if department_id is not None:
        unapproved = select(Resource.id).where(
            among(Resource.project_id, wanted), Resource.basis == "", Resource.gone_at.is_(None)
        )
        moved = list(tx.scalars(unapproved.where(Resource.department_id.is_distinct_from(department_id))))
        reassign(tx, moved, department_id, source="project.assign")
    tx.audit(
        "project.assign",
        f"pool:{pool_id}",
        reason=reason,
        before={"departments": [[rows[one].external_id, id_] for one, id_ in before.items()][:200]},
        after={"department": department_id, "projects": len(wanted), "resources": len(moved)},
    )
    tx.flush()
    tx.expire_all()  # rows were written past the session
    return len(moved)

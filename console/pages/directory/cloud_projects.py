"""Projects of a pool's cloud (云侧项目): what the cloud calls its tenants, whose each of them is, and what the cloud lets it have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, g, render_template, request
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import StringField
from wtforms.validators import InputRequired, Length

from console import choices, frame, links
from console.access import STEWARDS, allow
from console.book import reading, transaction
from console.choices import ChoiceField
from console.forms import answer, done
from console.lists import Column, Filter, Rows, listing
from console.programs import Given, listed, takes
from console.security import row_or
from console.words import _, amount, kind_label, lazy
from providers.observation import cloud_figures
from quota.actors import Role
from quota.db import Tx
from quota.directory import Pool, pools
from quota.errors import N_, Invalid, Refused
from quota.inventory import CloudProject, projects
from quota.units import Arch, ClassCode, Commodity

blueprint = Blueprint("cloud_projects", __name__, url_prefix="/pools/<int:pool_id>/projects")
frame.under("pools.index", "cloud_projects")

OWNED = {"nobody": N_("尚未确定"), "somebody": N_("已确定")}
NOBODYS, AS_SUGGESTED = "-1", "0"


def _owned(query: Rows, value: str) -> Rows:
    column = CloudProject.department_id
    return query.where(column.is_(None) if value == "nobody" else column.is_not(None))


COLUMNS = [
    Column("name", N_("云侧项目"), lambda p: p.called, sort=CloudProject.name, title=True),
    Column("domain", N_("域"), lambda p: p.domain or None, minor=True),
    Column("department", N_("使用单位"), lambda p: p.department.name if p.department else None,
           href=links.department(lambda p: p.department_id)),
    Column("suggested", N_("可能属于"), lambda p: _suggested(p)),
    Column("resources", N_("资源数"), lambda p: g.project_resources.get(p.id, 0), number=True),
    Column("quota", N_("云上配额"), lambda p: _quotas(p)),
    Column("external_id", N_("云侧编号"), lambda p: p.external_id, minor=True),
    Column("tags", N_("标签"), lambda p: _("、").join(p.tags) or None, minor=True),
    Column("seen", N_("最近见到"), lambda p: p.last_seen_at, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("q", N_("名称或编号"), lambda q, v: q.where(frame.matching(v, CloudProject.name, CloudProject.external_id))),
    Filter("owned", N_("使用单位"), _owned, options=OWNED),
]


class ProjectsForm(FlaskForm):  # type: ignore[misc]
    department = ChoiceField(lazy(N_("使用单位")))
    reason = StringField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])


@blueprint.get("")
@allow(*STEWARDS)
@listed(COLUMNS, FILTERS)
def index(pool_id: int) -> str | Response:
    """Every project of the pool's cloud."""
    found: str | Response = _listed(reading(), pools.pool(reading(), pool_id), _form(reading()))
    return found


@blueprint.post("/assign")
@allow(Role.SUPERVISOR)
@takes(ProjectsForm, Given("id", int, label=N_("云侧项目"), required=True, many=True))
def assign(pool_id: int) -> str | Response | tuple[str, int]:
    """What is ticked is one department's from now on, or each whose it seems to be."""
    tx = reading()
    pool = pools.pool(tx, pool_id)
    form = _form(tx)
    ticked = [number for text in request.form.getlist("id") if (number := row_or(text, 0))]

    def act() -> Response:
        with transaction() as writing:
            moved = sum(
                projects.assign(writing, pool.id, ids, department_id, form.reason.data)
                for department_id, ids in _chosen(writing, ticked, str(form.department.data)).items()
            )
        return done(
            _("已确定 %(n)s 个云侧项目，%(moved)s 个资源随之归入", n=len(ticked), moved=moved),
            "cloud_projects.index", pool_id=pool.id,
        )  # fmt: skip

    return answer(form, act, lambda: _listed(tx, pool, form), Refused)


def _form(tx: Tx) -> ProjectsForm:
    form = ProjectsForm()
    form.department.offer(tx, choices.departments(), (AS_SUGGESTED, _("按各自的建议")), (NOBODYS, _("不属于任何单位")))
    return form


def _listed(tx: Tx, pool: Pool, form: ProjectsForm) -> Any:
    query = select(CloudProject).where(CloudProject.pool_id == pool.id).options(joinedload(CloudProject.department))
    found = listing(tx, query, COLUMNS, key=CloudProject.id, filters=FILTERS, sort="name")
    g.project_resources = projects.resources_in(tx, [one.id for one in found.rows])
    g.project_suggested = projects.suggest(tx, found.rows)
    g.project_quotas = cloud_figures.quotas(tx, found.rows)
    book = cloud_figures.reading(tx, pool.id, cloud_figures.CloudBook.QUOTAS)
    return found.exported("cloud_projects") or render_template(
        "cloud_projects/index.html", pool=pool, rows=found, form=form, book=book
    )


def _chosen(tx: Tx, ticked: Sequence[int], department: str) -> Mapping[int | None, Sequence[int]]:
    """Department id → the projects that go to it. Raises Invalid where nothing is ticked, or nothing is suggested for one that
    is."""
    if not ticked:
        raise Invalid("project.nothing", N_("请选择云侧项目"))
    if department != AS_SUGGESTED:
        return {None if department == NOBODYS else int(department): ticked}
    rows = [projects.project(tx, one) for one in dict.fromkeys(ticked)]
    suggested = projects.suggest(tx, rows)
    found: dict[int | None, list[int]] = {}
    for one in rows:
        if one.id not in suggested:
            raise Invalid(
                "project.unsuggested", N_("云侧项目 %(name)s 没有建议，请选择使用单位"), name=one.called, field="department"
            )  # fmt: skip
        found.setdefault(suggested[one.id].department.id, []).append(one.id)
    return found


def _suggested(project: CloudProject) -> str | None:
    found = g.project_suggested.get(project.id)
    return _("%(department)s（“%(word)s”）", department=found.department.name, word=found.word) if found else None


def _quotas(project: CloudProject) -> str | None:
    return _("、").join(_quota(one) for one in g.project_quotas.get(project.id, ())) or None


def _quota(told: cloud_figures.ToldQuota) -> str:
    """vCPU 12 / 96 vCPU: what the cloud counts, of what it lets the project have."""
    cls = Commodity(ClassCode(told.kind), Arch.ANY)
    values: dict[str, Any] = {"kind": kind_label(cls), "used": amount(told.used, cls)}
    if told.most is None:
        return _("%(kind)s %(used)s（不限）", **values)
    said = _("%(kind)s %(used)s/%(most)s", most=amount(told.most, cls), **values)
    if told.unified is not None and told.unified != told.most:
        said += _("（统一限额 %(most)s）", most=amount(told.unified, cls))
    return said

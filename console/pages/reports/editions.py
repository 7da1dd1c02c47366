"""运营报告: the editions that a reader may see, one made, another made for a reason, each as a page and as files."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, url_for
from flask_wtf import FlaskForm
from markupsafe import Markup
from sqlalchemy import select
from werkzeug.wrappers import Response as Answer
from wtforms import SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, reports
from console.access import BUSINESS, allow
from console.book import actor, book, lake, reading, settings
from console.forms import answer, done
from console.lists import Column, Filter, listing
from console.programs import downloads, listed, takes
from console.reports import FORMATS, MIME, ChartBlock, Document, HeadingBlock, Paragraph, Table
from console.words import _, language, lazy, who_exactly
from metering.reports import (
    PERIOD_LABELS,
    SCOPE_LABELS,
    ReportEdition,
    ScopeKind,
    editions,
    periods,
    scopes,
)
from metering.workbench import Workbench
from quota.actors import Role
from quota.db import Tx
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState

blueprint = Blueprint("editions", __name__, url_prefix="/reports/editions")
frame.page("reports", "editions.index", N_("运营报告"), order=45)

MAKERS = (Role.SUPERVISOR, Role.AUTHORITY)
LONGEST = 500
REFUSALS = (Invalid, NotFound, WrongState, Conflict)

COLUMNS = [
    Column(
        "period",
        N_("报告期"),
        lambda r: r.period.code,
        href=lambda r: url_for("editions.show", edition_id=r.id),
        title=True,
    ),
    Column("kind", N_("种类"), lambda r: _(PERIOD_LABELS[r.period.kind]), code=lambda r: r.period.kind.value),
    Column("scope", N_("报告对象"), lambda r: _(SCOPE_LABELS[ScopeKind(r.scope)]), code=lambda r: r.scope),
    Column("name", N_("名称"), lambda r: r.name),
    Column("number", N_("版次"), lambda r: r.number, number=True),
    Column("known_at", N_("资料截止"), lambda r: r.known_at),
    Column("made_at", N_("出具时间"), lambda r: r.made_at, sort=ReportEdition.id),
    Column("made_by", N_("编制"), lambda r: r.made_by, text=who_exactly, minor=True),
    Column("reason", N_("更正原因"), lambda r: r.reason),
]
FILTERS = [
    Filter(
        "scope",
        N_("报告对象"),
        lambda q, v: q.where(ReportEdition.scope == v),
        options={kind.value: label for kind, label in SCOPE_LABELS.items()},
    ),
    Filter("name", N_("名称"), lambda q, v: q.where(ReportEdition.name.contains(v, autoescape=True))),
]


class EditionForm(FlaskForm):  # type: ignore[misc]
    """Of what, and of which days."""

    scope = SelectField(
        lazy("报告对象"), choices=[SelectChoice(kind.value, lazy(label)) for kind, label in SCOPE_LABELS.items()]
    )
    code = StringField(
        lazy("编码"),
        [Optional(), Length(max=64)],
        description=lazy("使用单位、云服务商或信息系统的编码；全市报告不填"),
    )
    period = StringField(
        lazy("报告期"),
        [InputRequired(lazy("请填写报告期")), Length(max=32)],
        description=lazy("写作 2026-10、2026Q3、2026H1、2026 或 2026-09-15..2026-10-14"),
    )


class AnewForm(FlaskForm):  # type: ignore[misc]
    """Why there shall be another edition."""

    reason = TextAreaField(lazy("出具新版的原因"), [InputRequired(lazy("请写明理由")), Length(max=LONGEST)])


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Answer:
    tx = reading()
    mine = scopes.visible(tx, tx.actor, ReportEdition.scope, ReportEdition.scope_id)
    found = listing(
        tx, select(ReportEdition).where(mine), COLUMNS, key=ReportEdition.id, filters=FILTERS, sort="-made_at"
    )
    return found.exported("reports") or render_template("reports/index.html", editions=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*MAKERS)
@takes(EditionForm)
def new() -> str | Answer | tuple[str, int]:
    tx = reading()
    form = EditionForm(period=periods.last_month(tx.now, settings().zone).code)

    def act() -> Answer:
        kind, code = form.scope.data, (form.code.data or "").strip()
        scope = kind if kind == ScopeKind.CITY.value and not code else f"{kind}:{code}"
        made = reports.make(_workbench(), settings(), scope, periods.period(form.period.data), actor=actor())
        return done(_("第 %(number)s 版", number=made.number), "editions.show", edition_id=made.id)

    return answer(form, act, lambda: render_template("reports/new.html", form=form), *REFUSALS)


@blueprint.get("/<int:edition_id>")
@allow(*BUSINESS)
def show(edition_id: int) -> str:
    return _page(edition_id, AnewForm())


@blueprint.post("/<int:edition_id>/anew")
@allow(*MAKERS)
@takes(AnewForm)
def anew(edition_id: int) -> str | Answer | tuple[str, int]:
    """Another edition of the same report; none where nothing has changed."""
    row = editions.edition(reading(), edition_id)
    form = AnewForm()

    def act() -> Answer:
        made = reports.make(
            _workbench(), settings(), _scope(reading(), row), row.period, actor=actor(), anew=True,
            reason=form.reason.data,
        )  # fmt: skip
        same = any(
            one.id == made.id for one in editions.of_report(reading(), ScopeKind(row.scope), row.scope_id, row.period)
        )
        said = _("数据没有变化，没有出新的一版") if same else _("第 %(number)s 版", number=made.number)
        return done(said, "editions.show", edition_id=made.id)

    return answer(form, act, lambda: _page(edition_id, form), *REFUSALS)


@blueprint.get("/<int:edition_id>/file.<any(pdf, docx, xlsx, html):ending>")
@allow(*BUSINESS)
@downloads(*MIME.values())
def file(edition_id: int, ending: str) -> Response:
    """The edition as a file in the reader's language: in each the same bytes whenever it is asked for."""
    tx = reading()
    row = editions.edition(tx, edition_id)
    content = reports.drawn(_document(tx, row), [ending])[ending]
    name = reports.name(row, ending, _code(tx, row), _language())
    return Response(content, mimetype=MIME[ending], headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _page(edition_id: int, form: AnewForm) -> str:
    tx = reading()
    row = editions.edition(tx, edition_id)
    document = _document(tx, row)
    return render_template(
        "reports/show.html",
        edition=row,
        document=document,
        blocks=[_block(one) for one in document.blocks],
        others=[
            one for one in editions.of_report(tx, ScopeKind(row.scope), row.scope_id, row.period) if one.id != row.id
        ],
        formats=list(FORMATS),
        form=form,
        may_anew=tx.actor.role in MAKERS,
    )


def _language() -> str:
    return language()[:2]


def _document(tx: Tx, row: ReportEdition) -> Document:
    """In the reader's language; in Chinese as the sources have it, to the letter as the command line writes it."""
    say = reports.source if _language() == "zh" else _
    return reports.document(tx, row, settings().zone, say, _language())


def _block(block: Any) -> tuple[str, Any]:
    """What the template draws it as."""
    match block:
        case HeadingBlock():
            return "heading", block
        case Paragraph():
            return "paragraph", block
        case ChartBlock():
            return "chart", (Markup(block.svg), block.told)  # noqa: S704 - drawn here, its texts escaped
        case Table():
            return "table", (
                [(one.heading, one.right) for one in block.columns],
                block.written(),
                block.title,
                block.captioned,
            )
    raise TypeError(block)


def _workbench() -> Workbench:
    return Workbench(book(), lake(), settings().data)


def _code(tx: Tx, row: ReportEdition) -> str:
    return scopes.of(tx, ScopeKind(row.scope), row.scope_id).code


def _scope(tx: Tx, row: ReportEdition) -> str:
    return scopes.of(tx, ScopeKind(row.scope), row.scope_id).text

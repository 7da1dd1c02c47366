"""The working-day calendar: what was published, the city's corrections on top, and what a correction would move."""

from __future__ import annotations

from calendar import Calendar
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from flask import Blueprint, render_template, request
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import RadioField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame
from console.access import BUSINESS, allow
from console.book import reading, settings, transaction
from console.forms import DateField, answer, done
from console.founding import Look, checklist
from console.lists import Column, listing
from console.programs import listed, takes
from console.words import _, lazy, when
from metering.cases import files
from providers import orders, tickets
from quota import calendar
from quota.actors import Role
from quota.audit import AuditRecord
from quota.calendar import CalendarDay, WorkingDays
from quota.db import Tx
from quota.errors import N_, Invalid
from quota.requests import approvals

blueprint = Blueprint("calendar", __name__, url_prefix="/calendar")
frame.page("requests", "calendar.index", N_("工作日历"), order=60)

FIRST_YEAR, LAST_YEAR = 2004, 2100
LONGEST = 62
"""Days that can be corrected in one go."""
MOST_DAYS = 1000
WEEKDAYS = (N_("一"), N_("二"), N_("三"), N_("四"), N_("五"), N_("六"), N_("日"))
SETTINGS = {"worked": N_("上班"), "rested": N_("休息"), "published": N_("恢复为公布的日历")}
VERBS = {"calendar.correct": N_("更正日历"), "calendar.uncorrect": N_("撤销更正")}
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Day:
    """A day as the calendar draws it: ``mark`` 班 or 休 where it is not what its weekday says, ``why`` in words."""

    day: date
    worked: bool
    mark: str
    why: str
    corrected: bool
    today: bool


class DayForm(FlaskForm):  # type: ignore[misc]
    first = DateField(lazy(N_("日期")), [InputRequired(lazy(N_("请填写日期")))])
    last = DateField(lazy(N_("至")), [Optional()], description=lazy(N_("连续几天时填写,含这一天")))
    setting = RadioField(
        lazy(N_("这一天")),
        [InputRequired(lazy(N_("请选择上班或休息")))],
        choices=[SelectChoice(code, lazy(label)) for code, label in SETTINGS.items()],
    )
    note = StringField(lazy(N_("依据")), [InputRequired(lazy(N_("请写明依据"))), Length(max=128)])

    def days(self) -> list[date]:
        """The days that it is about. Raises Invalid for a span that makes no sense."""
        first, last = self.first.data, self.last.data or self.first.data
        if last < first:
            raise Invalid("calendar.span", N_("结束日期不能早于开始日期"), field="last")
        if (last - first).days >= LONGEST:
            raise Invalid("calendar.long", N_("一次最多更正 %(most)s 天"), most=LONGEST, field="last")
        if not FIRST_YEAR <= first.year <= last.year <= LAST_YEAR:
            raise Invalid(
                "calendar.year",
                N_("年份须在 %(first)s 至 %(last)s 之间"),
                first=str(FIRST_YEAR),
                last=str(LAST_YEAR),
                field="first",
            )
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]

    def changes(self) -> dict[date, bool | None]:
        wanted = {"worked": True, "rested": False, "published": None}[self.setting.data]
        return dict.fromkeys(self.days(), wanted)


def today(tx: Tx) -> date:
    return tx.now.astimezone(settings().zone).date()


COLUMNS = [
    Column("day", N_("日期"), lambda d: d.day, sort=CalendarDay.day, title=True),
    Column("weekday", N_("星期"), lambda d: _(WEEKDAYS[d.day.weekday()]), code=lambda d: d.day.weekday()),
    Column("setting", N_("本市"), lambda d: "worked" if d.working else "rested", state=True),
    Column("published", N_("公布的日历"), lambda d: _published(d.day)),
    Column("note", N_("依据"), lambda d: d.note),
]


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, args=("year",))
def index() -> str | Response:
    tx = reading()
    query = select(CalendarDay)
    corrections = listing(tx, query, COLUMNS, key=CalendarDay.day, sort="-day")
    exported = corrections.exported("calendar")
    if exported:
        return exported
    days, now = calendar.working_days(tx, settings().zone), today(tx)
    year = _number(request.args.get("year", ""), now.year, FIRST_YEAR, LAST_YEAR)
    months = [_month(days, year, month, now) for month in range(1, 13)]
    return render_template(
        "calendar/index.html",
        year=year,
        months=months,
        weekdays=[_(one) for one in WEEKDAYS],
        worked=sum(day.worked for _name, weeks in months for week in weeks for day in week if day),
        unpublished=any(not days.published(date(year, month, 1)) for month in range(1, 13)),
        before=year - 1 if year > FIRST_YEAR else None,
        after=year + 1 if year < LAST_YEAR else None,
        corrections=corrections,
        history=_history(tx),
        reckoned=_reckoned(days, now),
    )


@blueprint.route("/correct", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(DayForm, sends={"step": "confirm"})
def correct() -> str | Response | tuple[str, int]:
    tx = reading()
    days = calendar.working_days(tx, settings().zone)
    form = DayForm(data=_begun(days))

    def page() -> str:
        return render_template("calendar/correct.html", form=form)

    def act() -> str | Response:
        step, changes = request.form.get("step"), form.changes()
        if step == "edit":
            return page()
        if step != "confirm":
            return _check(tx, days, changes, form.note.data)
        requests, orders, asked = _carry_out(changes, form.note.data)
        said = _(
            "日历已更正；%(requests)s 份申请、%(orders)s 张工单、%(tickets)s 项运维请求改了期限",
            requests=requests, orders=orders, tickets=asked,
        )  # fmt: skip
        return done(said, "calendar.index", year=form.first.data.year)

    return answer(form, act, page)


def _carry_out(changes: dict[date, bool | None], note: str) -> tuple[int, int, int]:
    """Correct the days and compute what runs anew, in one commit; how many requests, orders and tickets moved.

    Cases take their limits from the calendar when they are next advanced.
    """
    with transaction() as tx:
        for day, worked in changes.items():
            if worked is None:
                calendar.uncorrect(tx, day, note)
            else:
                calendar.correct(tx, day, worked, note)
        tx.flush()
        return len(approvals.redate(tx)), orders.reschedule(tx), tickets.handling.redate(tx)


def _check(tx: Tx, days: WorkingDays, changes: dict[date, bool | None], note: str) -> str:
    """What the correction would change, before it binds."""
    after = days.corrected(changes)
    rows = [
        (day.isoformat(), _(WEEKDAYS[day.weekday()]), _word(days.is_working(day)), _word(after.is_working(day)))
        for day in changes
    ]
    moved = approvals.moving(tx, after)
    cases = [
        one
        for one in files.open_cases(tx)
        if one.due_from is not None and one.due_days is not None
        and after.due(one.due_from, one.due_days) != one.due_at
    ]  # fmt: skip
    return render_template(
        "calendar/check.html",
        note=note,
        rows=rows,
        requests=[(one.number, one.department.name, when(one.due_at), when(due)) for one, due in moved[:SHOWN]],
        moved=len(moved),
        orders=len(orders.moving(tx, after)),
        cases=len(cases),
    )


def _begun(days: WorkingDays) -> dict[str, Any]:
    """What the form starts from: the day that was clicked, set to the opposite of what it is."""
    try:
        day = date.fromisoformat(request.args.get("day", ""))
    except ValueError:
        return {}
    setting = "published" if day in days.corrections else "rested" if days.is_working(day) else "worked"
    return {"first": day, "setting": setting}


def _month(days: WorkingDays, year: int, month: int, now: date) -> tuple[str, list[list[Day | None]]]:
    """(its name, its weeks from Monday; None for days of other months)."""
    weeks = [
        [_day(days, day, now) if day.month == month else None for day in week]
        for week in Calendar().monthdatescalendar(year, month)
    ]
    return _("%(month)s 月", month=month), weeks


def _day(days: WorkingDays, day: date, now: date) -> Day:
    worked, corrected, festival = days.is_working(day), day in days.corrections, calendar.festival(day)
    odd = worked != (day.weekday() < 5)
    reasons = [_word(worked)]
    if corrected:
        reasons.append(_("本市更正"))
    elif festival and odd:
        reasons.append(_("调休（%(festival)s）", festival=_(festival)) if worked else _(festival))
    elif not days.published(day):
        reasons.append(_("日历未发布，按法定节日和周末推算"))
        if expected := calendar.usual(day):
            names = _("、").join(_(calendar.FESTIVALS[name]) for name in expected)
            reasons.append(_("按惯例预计放假（%(festival)s）", festival=names))
    mark = "" if not (odd or corrected) else _("班") if worked else _("休")
    return Day(day, worked, mark, _("，").join(reasons), corrected, day == now)


def _word(worked: bool) -> str:
    return _("上班") if worked else _("休息")


def _published(day: date) -> str:
    bare = WorkingDays()
    return _word(bare.is_working(day)) if bare.published(day) else _("未发布")


def _reckoned(days: WorkingDays, now: date) -> dict[str, Any]:
    """The small reckoner: from a day, so many working days on, is which day."""
    try:
        start = date.fromisoformat(request.args.get("from", ""))
    except ValueError:
        start = now
    if not FIRST_YEAR <= start.year < LAST_YEAR:
        start = now
    count = _number(request.args.get("days", ""), 5, 0, MOST_DAYS)
    due = days.due(datetime.combine(start, time(12), days.zone), count)
    return {"start": start, "days": count, "due": due, "sure": days.published(due.date()), "most": MOST_DAYS}


def _number(text: str, otherwise: int, least: int, most: int) -> int:
    return min(max(int(text), least), most) if text.isascii() and text.isdigit() and len(text) < 9 else otherwise


def _history(tx: Tx) -> list[dict[str, object]]:
    records = tx.scalars(
        select(AuditRecord)
        .where(AuditRecord.action.in_(VERBS))
        .order_by(AuditRecord.sequence.desc())
        .limit(30)
    )  # fmt: skip
    return [
        {
            "at": one.at,
            "who": one.actor,
            "what": f"{_(VERBS[one.action])} {one.subject.removeprefix('day:')}",
            "reason": one.after.get("note", "") or one.reason,
            "changes": [(_("本市"), _told(one.before), _told(one.after) or _("以公布的日历为准"))],
        }
        for one in records
    ]


def _told(values: dict[str, Any]) -> str:
    return _word(values["working"]) if "working" in values else ""


@checklist.step("calendar", N_("工作日历"), N_("今年的放假和调休已公布或已录入，时限才按实际工作日计算。"), Role.AUTHORITY,
                endpoint="calendar.index", order=130)  # fmt: skip
def _year_published(look: Look) -> bool:
    return calendar.working_days(look.tx).published(look.today.replace(month=12, day=31))

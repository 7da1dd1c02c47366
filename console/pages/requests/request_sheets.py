"""批量申请: many requests in one sheet, looked at first, with every fault by its place, then entered as drafts."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from flask import Blueprint, render_template, request, send_file
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from werkzeug.wrappers import Response
from wtforms import SelectField
from wtforms.fields.choices import SelectChoice

from console import frame, request_sheets, workbooks
from console.access import allow
from console.book import actor, book, reading
from console.errors import Unfilled
from console.forms import answer, done
from console.pages.inventory import uploads
from console.programs import Given, asked, takes
from console.request_sheets import FiledOutcome
from console.words import _, lazy, sentence
from quota.actors import Role
from quota.errors import N_, Refused
from quota.requests import known

blueprint = Blueprint("request_sheets", __name__, url_prefix="/requests/sheet")
frame.under("requests.index", "request_sheets")

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SHOWN = 500
CHECK, ENTER, SOUND = "check", "enter", "sound"


class SheetForm(FlaskForm):  # type: ignore[misc]
    """A filled in workbook; of a text file, which of its sheets it is."""

    file = FileField(
        lazy(N_("批量申请表")),
        [FileRequired(lazy(N_("请选择文件")))],
        description=lazy(N_("xlsx；只有一种申请的也可以是 csv")),
    )
    sheet = SelectField(
        lazy(N_("申请类型")),
        choices=[
            SelectChoice("", "—"),
            *(SelectChoice(kind.code, lazy(kind.label)) for kind in known() if kind.by_itself),
        ],
        default="",
        description=lazy(N_("仅 csv 文件须选")),
    )


@blueprint.get("/template.xlsx")
@allow(Role.TENANT)
def blank() -> Response:
    """The workbook to fill in: a sheet a request kind, with what there is to choose from."""
    with tempfile.TemporaryDirectory(prefix="guanjia-sheet-") as folder:
        path = Path(folder) / "requests.xlsx"
        request_sheets.write(reading(), path)
        content = path.read_bytes()
    return send_file(io.BytesIO(content), mimetype=XLSX, as_attachment=True, download_name=_("批量申请表") + ".xlsx")


@blueprint.route("/", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(SheetForm, Given("step", label=N_("步骤"), values=(CHECK, ENTER, SOUND)))
def enter() -> str | Response | tuple[str, int]:
    """A workbook: first what would come of it, then, once that was looked at, drafts: of all of it, or of what nothing is wrong with."""
    form = SheetForm()
    token = request.form.get("token", "")
    if token:
        del form.file  # it came with the page before
    found: FiledOutcome | None = None

    def act() -> str | Response:
        nonlocal found, token
        step = request.form.get("step")
        file = uploads.kept(None if token else form.file.data, token)
        token = file.token
        with uploads.laid_out(file) as path:
            workbook = workbooks.load(path, request_sheets.sheets(reading()), form.sheet.data or "")
        if step in (ENTER, SOUND):
            found = request_sheets.enter(book(), workbook, actor(), sound_only=step == SOUND)
        else:
            found = request_sheets.check(book(), workbook, actor())
        if found.entered or asked.by_program():
            uploads.forget(token)
        if found.entered:
            said = _("已登记 %(n)s 份草稿，请核对后提交", n=found.added.total() + found.changed.total())
            return done(said, "request_drafts.submit")
        if asked.by_program():
            if found.faults:
                raise Unfilled(
                    [(sentence(*workbooks.place(one)), sentence(one.message, one.params)) for one in found.faults]
                )
            return done(_("核对无误，没有登记任何内容"), "request_sheets.enter")
        return page()

    def page() -> str:
        shown = SheetForm(formdata=None) if token and found is None else form
        return render_template(
            "request_sheets/enter.html",
            form=shown,
            errors=form,
            found=found,
            told=[
                (one.sheet, one.row or "—", one.column or "—", sentence(one.message, one.params))
                for one in (found.faults[:SHOWN] if found else [])
            ],
            counts=_counts(found) if found else [],
            token=token,
            sheet=form.sheet.data or "",
        )

    return answer(form, act, page, Refused)


def _counts(found: FiledOutcome) -> list[tuple[str, int, int, int]]:
    titles = dict.fromkeys([*found.added, *found.changed, *found.same])
    return [(one, found.added[one], found.changed[one], found.same[one]) for one in titles]

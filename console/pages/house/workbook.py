"""The workbook that founds a city, in the console: written to be filled in, looked at before it binds, entered."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from flask import Blueprint, flash, render_template, request, send_file
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from werkzeug.wrappers import Response

from console import frame, workbooks
from console.access import allow
from console.book import actor, book, settings
from console.errors import Unfilled
from console.forms import answer, done
from console.founding import entering, sheets, template
from console.pages.inventory import uploads
from console.programs import asked, takes
from console.words import _, lazy, sentence
from quota.actors import Role
from quota.errors import N_, Refused

blueprint = Blueprint("workbook", __name__, url_prefix="/city/workbook")
frame.under("city.checklist_page", "workbook")


def _place(fault: workbooks.CellFault) -> str:
    """Where a fault is, as programs are told."""
    return "/".join(str(one) for one in (fault.sheet, fault.row, fault.column) if one)


XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SHOWN = 500


class WorkbookForm(FlaskForm):  # type: ignore[misc]
    file = FileField(lazy(N_("工作簿")), [FileRequired(lazy(N_("请选择文件")))], description=lazy(N_("xlsx")))


@blueprint.get("/template.xlsx")
@allow(Role.AUTHORITY, Role.SYSADMIN)
def blank() -> Response:
    """The workbook to fill in: with the example city, or blank where ``?blank=1``."""
    with tempfile.TemporaryDirectory(prefix="guanjia-workbook-") as folder:
        path = Path(folder) / "city.xlsx"
        template.write(path, blank=request.args.get("blank") == "1", demo=settings().demo)
        content = path.read_bytes()
    name = _("筹建工作簿") + ".xlsx"
    return send_file(io.BytesIO(content), mimetype=XLSX, as_attachment=True, download_name=name)


@blueprint.route("/", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(WorkbookForm, sends={"step": "enter"})
def enter() -> str | Response | tuple[str, int]:
    """A workbook: first what would come of it, then, once that was looked at, entered: all of it or nothing."""
    form = WorkbookForm()
    token = request.form.get("token", "")
    if token:
        del form.file  # it came with the page before
    found: entering.EntryOutcome | None = None

    def act() -> str | Response:
        nonlocal found, token
        file = uploads.kept(None if token else form.file.data, token)
        token = file.token
        with uploads.laid_out(file) as path:
            workbook = workbooks.load(path, sheets.SHEETS)
        demo = settings().demo
        if request.form.get("step") != "enter":
            found = entering.check(book(), workbook, actor(), demo=demo)
            return page()
        found = entering.enter(book(), workbook, actor(), settings().data, demo=demo)
        if not found.whole:
            if asked.by_program():
                raise Unfilled((_place(one), sentence(one.message, one.params)) for one in found.faults[:SHOWN])
            return page()
        uploads.forget(token)
        if found.handed:
            flash(
                _(
                    "%(n)s 个初始密码已写入数据目录的 %(folder)s，请系统管理员在主机上取出、交给本人后删除；账号须由安全管理员授权。",
                    n=len(found.handed),
                    folder=entering.FIRST_PASSWORDS,
                ),
                "warning",
            )
        return done(_("工作簿已登记"), "city.checklist_page")

    def page() -> str:
        told = [(one.sheet, one.row or "—", one.column or "—", sentence(one.message, one.params))
                for one in (found.faults[:SHOWN] if found else [])]  # fmt: skip
        titles = dict.fromkeys([*found.added, *found.changed, *found.same]) if found else {}
        counts = [(one, found.added[one], found.changed[one], found.same[one]) for one in titles] if found else []
        shown = WorkbookForm() if found is None or not found.whole else form
        return render_template(
            "workbook/enter.html", form=shown, errors=form, found=found, told=told, counts=counts, token=token
        )

    return answer(form, act, page, Refused)

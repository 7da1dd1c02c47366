"""答卷表: what a department is asked by a survey as one workbook, a row a company, filled in and brought back: all of it or nothing."""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from flask import Blueprint, render_template, send_file
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, workbooks
from console.access import allow
from console.book import actor, reading, transaction
from console.errors import Unfilled
from console.forms import answer, done
from console.pages.inventory import uploads
from console.programs import asked, takes
from console.words import _, lazy, sentence
from console.workbooks import CellFault, CellShape, SheetColumn, SheetRow, WorkbookSheet
from providers.assessment import Survey, SurveyAnswer, surveys
from quota.actors import Role
from quota.db import Tx
from quota.errors import N_, Invalid, Refused, WrongState

blueprint = Blueprint("survey_sheets", __name__, url_prefix="/surveys")
frame.under("surveys.index", "survey_sheets")

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SHOWN = 500
_NUMBER = re.compile(r"DJ-(\d{1,9})", re.ASCII)


class AnswersSheetForm(FlaskForm):  # type: ignore[misc]
    file = FileField(
        lazy(N_("答卷表")),
        [FileRequired(lazy(N_("请选择文件")))],
        description=lazy(N_("下载后填写的 xlsx；评分都空着的行不答复")),
    )


class _Faulty(Exception):
    """Something of the workbook is wrong, so nothing of it is kept."""


def sheet(survey: Survey) -> WorkbookSheet:
    """The columns of a survey's workbook: which answer, about whom, the score of each item, a word."""
    scores = (
        SheetColumn(f"score_{at}", f"{at + 1}. {item.text}".rstrip("*").rstrip(), CellShape.WHOLE, least=1)
        for at, item in enumerate(survey.asks)
    )
    return WorkbookSheet(
        "answers", N_("答卷"), N_("每行一份，每题填分值；编号和版次不要改"),
        (
            SheetColumn("number", N_("答卷"), required=True), SheetColumn("generation", N_("版次"), CellShape.WHOLE, required=True),
            SheetColumn("department", N_("使用单位"), most=256), SheetColumn("provider", N_("云服务商"), most=256), *scores,
            SheetColumn("word", N_("意见"), most=2000),
        ),
        key=("number",),
    )  # fmt: skip


def _open(tx: Tx, survey_id: int) -> Survey:
    """The survey, while it may be answered."""
    found = surveys.survey(tx, survey_id)
    if found.state != "open":
        raise WrongState("survey.over", N_("该调查已于 %(on)s 截止"), on=found.ends_on)
    return found


@blueprint.get("/<int:survey_id>/answers.xlsx")
@allow(Role.TENANT)
def blank(survey_id: int) -> Response:
    """The workbook to fill in, with what was answered so far."""
    tx = reading()
    one = _open(tx, survey_id)
    query = (
        select(SurveyAnswer)
        .where(SurveyAnswer.survey_id == one.id, surveys.answers_seen(tx, actor()))
        .options(joinedload(SurveyAnswer.department), joinedload(SurveyAnswer.provider))
        .order_by(SurveyAnswer.id)
    )
    rows = [
        {"number": f"DJ-{it.id:06d}", "generation": it.generation, "department": it.department.name, "provider": it.provider.name,
         "word": it.word, **{f"score_{at}": score for at, score in enumerate(it.scores or [])}}
        for it in tx.scalars(query)
    ]  # fmt: skip
    lines = [one.name, _("每道题须评 1 至 %(most)s 分", most=one.scale)]
    with tempfile.TemporaryDirectory(prefix="guanjia-survey-") as folder:
        path = Path(folder) / "answers.xlsx"
        workbooks.write(path, lines, [sheet(one)], {"answers": rows})
        content = path.read_bytes()
    return send_file(io.BytesIO(content), mimetype=XLSX, as_attachment=True, download_name=f"survey-{one.id}.xlsx")


@blueprint.route("/<int:survey_id>/sheet", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(AnswersSheetForm)
def enter(survey_id: int) -> str | Response | tuple[str, int]:
    """Bring the filled in workbook back: every row of it is answered, or none, with every fault by its place."""
    one = _open(reading(), survey_id)
    form, faults = AnswersSheetForm(), list[CellFault]()

    def act() -> str | Response:
        file = uploads.kept(form.file.data, "")
        try:
            with uploads.laid_out(file) as path:
                workbook = workbooks.load(path, [sheet(one)])
        finally:
            uploads.forget(file.token)
        faults.extend(workbook.faults)
        count = 0
        try:
            with transaction() as tx:
                for row in workbook.rows["answers"]:
                    count += row.sound and _answered(tx, one, row, faults)
                if faults:
                    raise _Faulty
        except _Faulty:
            if asked.by_program():
                raise Unfilled(
                    [(sentence(*workbooks.place(it)), sentence(it.message, it.params)) for it in faults]
                ) from None
            return page()
        return done(_("已答复 %(n)s 份", n=count), "surveys.show", survey_id=survey_id)

    def page() -> str:
        told = [(it.sheet, it.row or "—", it.column or "—", sentence(it.message, it.params)) for it in faults[:SHOWN]]
        return render_template("surveys/sheet.html", form=form, one=one, told=told, count=len(faults))

    return answer(form, act, page, Refused)


def _answered(tx: Tx, survey: Survey, row: SheetRow, faults: list[CellFault]) -> bool:
    """Answer by one row; whether it says something new. What is wrong with it goes to ``faults``."""
    columns = {column.key: column for column in row.sheet.columns}
    keys = [key for key in columns if key.startswith("score_")]
    scores = [row.values[key] for key in keys]
    if all(score is None for score in scores):
        return False
    before = len(faults)
    for key, score in zip(keys, scores, strict=True):
        if score is None or score > survey.scale:
            wrong = Invalid("survey.scores", N_("每道题须评 1 至 %(most)s 分"), most=survey.scale)
            faults.append(
                CellFault(row.sheet.title, row.number, columns[key].label, wrong.code, wrong.message, wrong.params)
            )
    if len(faults) > before:
        return False
    try:
        number = _NUMBER.fullmatch(row.values["number"])
        found = surveys.asked_of(tx, int(number[1]) if number else 0)
        if found.survey_id != survey.id:
            raise Invalid("survey.other", N_("这份答卷不属于该调查"))
        if (found.scores, found.word) == (scores, (row.values["word"] or "").strip()):
            return False
        surveys.give(tx, found.id, scores, row.values["word"] or "", generation=row.values["generation"])
    except Refused as refused:
        faults.append(
            CellFault(
                row.sheet.title, row.number, columns["number"].label, refused.code, refused.message, refused.params
            )
        )
        return False
    return True

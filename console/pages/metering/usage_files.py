"""Files of usage taken in by hand: first what would come of one, then, once that was looked at, into the lake."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import BooleanField, FloatField, SelectField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import NumberRange, Optional

from console import frame
from console.access import allow
from console.book import actor, book, lake, reading, settings
from console.forms import answer, done
from console.pages.inventory import uploads
from console.programs import asked, takes
from console.words import _, lazy, sentence, words
from metering.intake import Imported, imports
from metering.workbench import Workbench
from providers.metrics import METRICS
from providers.readers import FORMATS, UNMAPPED, Convention, sheet_purposes
from quota.actors import Role
from quota.attachments import StagedFile
from quota.directory import Pool
from quota.errors import N_

blueprint = Blueprint("usage_files", __name__, url_prefix="/usage-files")
frame.page("resources", "usage_files.upload", N_("导入用量"), order=65)

MACHINES_SHOWN = 20
LABELS = {
    "bitbrains": N_("Bitbrains 公开数据集"), "planetlab": N_("PlanetLab 公开数据集"), "gcd": N_("Google 集群数据集"),
    "cloudwatch": N_("CloudWatch 导出"), "merged": N_("多机合并的 CSV"), "wide": N_("每台机器一列"), "long": N_("每行一个采样"),
}  # fmt: skip


class UsageForm(FlaskForm):  # type: ignore[misc]
    pool = SelectField(lazy("资源池"), coerce=int, choices=[])
    file = FileField(
        lazy("用量文件"), validators=[FileRequired(lazy("请选择文件"))],
        description=lazy("CSV、xlsx、Parquet，可用 gzip 压缩；至少有资源编号、时间和一项用量"),
    )  # fmt: skip
    format = SelectField(lazy("格式"), choices=[], default="")
    offset = FloatField(
        lazy("时区偏移"), [Optional(), NumberRange(-16, 16, lazy("时区偏移在 -16 与 16 之间"))],
        description=lazy("小时。时间没有标时区的文件须填写，北京时间填 8"),
    )  # fmt: skip
    metric = SelectField(lazy("数值的含义"), choices=[], default="", description=lazy("仅用于只有时间和数值两列的文件"))
    register = BooleanField(
        lazy("登记台账中没有的机器"), description=lazy("不勾选时，清单里没有的机器的采样不采用，并在报告中列出")
    )

    def offer(self, pools: list[Pool]) -> None:
        self.pool.choices = [SelectChoice(str(pool.id), pool.name) for pool in pools]
        self.format.choices = [
            SelectChoice("", _("自动识别")), *(SelectChoice(name, _(LABELS[name])) for name in FORMATS)
        ]  # fmt: skip
        self.metric.choices = [SelectChoice("", "—"), *(SelectChoice(name, name) for name in METRICS)]

    def convention(self) -> Convention:
        """What the person knows about the file. Raises Invalid for what cannot be."""
        hours = self.offset.data
        return Convention(
            self.format.data or None, None if hours is None else round(hours * 3600), self.metric.data or None
        )


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(UsageForm, sends={"step": "enter"})
def upload() -> str | Response | tuple[str, int]:
    """A file of usage: the report that ``guanjia import usage --dry-run`` gives, then the import."""
    form = UsageForm()
    pools = list(reading().scalars(select(Pool).order_by(Pool.name)))
    form.offer(pools)
    token = request.form.get("token", "")
    if token:
        del form.file  # it came with the page before

    def page() -> str:
        if "file" in form:
            return _page(form)
        again = UsageForm(formdata=None, data=form.data)  # the file has to be chosen again
        again.offer(pools)
        again.form_errors = [*form.form_errors, *(error for field in form for error in field.errors)]
        return _page(again)

    def act() -> str | Response:
        pool = next(pool for pool in pools if pool.id == form.pool.data)
        convention, enters = form.convention(), request.form.get("step") == "enter"
        file = uploads.kept(None if token else form.file.data, token)
        found = _import(pool, file, convention, register=form.register.data, write=enters)
        report = found.report.files[0] if found.report.files else None
        if report is not None and report.error is not None:
            if asked.by_program():
                pass  # nobody is there to say what the columns mean: ``mappings.draw`` takes both
            elif report.error.code in UNMAPPED and uploads.has_columns(file, sheet_purposes.USAGE):
                why = sentence(report.error.message, report.error.params)
                flash(_("这份用量的列还没有人说明含义：%(why)s", why=why), "info")
                return redirect(url_for(
                    "mappings.draw", pool=pool.id, token=file.token, purpose=sheet_purposes.USAGE.code,
                    offset=form.offset.data, register="y" if form.register.data else None,
                ))  # fmt: skip
            uploads.forget(file.token)
            raise report.error
        if not enters:
            return _page(form, found, file.token)
        uploads.forget(file.token)
        for note in uploads.notes(report) if report is not None else ():
            flash(note, "info")
        return done(_("%(samples)s 个采样已入湖；以前入过湖的不重复计", samples=found.samples), "lake.index")

    return answer(form, act, page)


def _import(pool: Pool, file: StagedFile, convention: Convention, *, register: bool, write: bool) -> Imported:
    workbench = Workbench(book(), lake(), settings().data, caution=settings().caution)
    with uploads.laid_out(file) as path:
        return imports.import_usage(
            workbench, pool, [path], convention, register=register, write=write, actor=actor()
        )  # fmt: skip


def _page(form: UsageForm, found: Imported | None = None, token: str = "") -> str:
    """The form, or what would come of its file."""
    return render_template(
        "usage_files/upload.html",
        form=form,
        found=found,
        token=token,
        report=uploads.told(found.report.files[0]) if found is not None and found.report.files else None,
        refused=[(words(reason), count) for reason, count in sorted(found.refused.items())] if found else [],
        unknown=found.unknown.most_common(MACHINES_SHOWN) if found else [],
    )

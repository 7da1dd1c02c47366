"""Attachments are handed out as files to keep, never shown by the browser as pages of ours."""

from __future__ import annotations

import io

from flask import Blueprint, flash, redirect, render_template, send_file
from flask_wtf import FlaskForm
from flask_wtf.file import MultipleFileField
from werkzeug.wrappers import Response
from wtforms import SelectField
from wtforms.fields.choices import SelectChoice

from console import frame
from console.access import BUSINESS, allow
from console.book import reading, transaction
from console.errors import status
from console.forms import hang, refuse_unfilled
from console.pages.attachments.uploads import Uploaded, place, uploaded, visible
from console.programs import takes
from console.words import _, lazy
from quota import attachments, requests
from quota.actors import Role
from quota.errors import N_, Invalid, WrongState
from quota.file_kinds import ACCEPTED
from quota.requests import formbook, rulebook

blueprint = Blueprint("attachments", __name__, url_prefix="/attachments")
frame.under("requests.index", "attachments")


@blueprint.get("/<int:attachment_id>")
@allow(*BUSINESS)
def download(attachment_id: int) -> Response:
    """The file. Raises NotFound for who may not see what it was put forward in."""
    tx = reading()
    one = visible(tx, attachment_id)
    body = io.BytesIO(attachments.content(tx, one))
    answer = send_file(body, mimetype=one.media_type, as_attachment=True, download_name=one.name, max_age=0)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


class AddForm(FlaskForm):  # type: ignore[misc]
    label = SelectField(lazy(N_("附件种类")), default="", description=lazy(N_("审批规则要求的附件须选明种类")))
    files = MultipleFileField(
        lazy("附件"),
        description=lazy("PDF、PNG、JPEG、xlsx、docx、txt、csv,每个不超过10 MB,一次最多5个"),
        render_kw={"accept": ACCEPTED},
    )


@blueprint.route("/<kind>/<int:number>/add", methods=["GET", "POST"])
@allow(Role.TENANT, Role.PROVIDER, Role.SUPERVISOR, Role.AUTHORITY)
@takes(AddForm)
def add(kind: str, number: int) -> str | Response | tuple[str, int]:
    """Put files forward in a request, an incident, an appeal, a shutdown, a record. Raises WrongState where that is over."""
    tx = reading()
    where = place(tx, kind, number)
    if not where.may_add:
        raise WrongState("attachment.closed", N_("现在不能再提交附件"))
    form, code, given = AddForm(), 200, Uploaded()
    asked = {one: _(one) for one in where.labels}
    if kind == "request":
        form_asks = [one.label for one in formbook.form_of(tx, requests.request(tx, number)).annexes]
        asked = {one: _(one) for one in dict.fromkeys([*form_asks, *rulebook.named(tx, "annexes")])}
    form.label.choices = [SelectChoice("", _("其他")), *(SelectChoice(one, said) for one, said in asked.items())]
    if not asked:
        del form.label
    if form.is_submitted():
        code, given = 422, uploaded()
        if given.problems:
            form.files.errors = given.problems
        elif not given.tokens:
            form.files.errors = [_("请选择文件")]
        refuse_unfilled(form, True, ("files", form.files.errors))
        if given.tokens and not given.problems and form.validate():
            try:
                with transaction() as writing:
                    if not place(writing, kind, number).may_add:
                        raise WrongState("attachment.closed", N_("现在不能再提交附件"))
                    added = attachments.attach(writing, where.subject, given.hand_in(writing),
                                               form.label.data if "label" in form else "")  # fmt: skip
            except Invalid as refused:
                hang(form, refused)
                code = status(refused)
            else:
                flash(_("已提交%(count)s个附件", count=len(added)), "success")
                return redirect(where.address)
    return render_template("attachments/add.html", form=form, where=where, kept=given.shown()), code

"""Mail: whether the city's server is set up and takes what it is given, and what became of each mail."""

from __future__ import annotations

import smtplib

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_login import current_user
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame
from console.access import allow
from console.book import reading, settings, transaction
from console.founding import Look, checklist
from console.lists import Column, Filter, listing, since, until
from console.mail import mails, postman
from console.programs import listed, takes
from console.settings import named
from console.tables import Mail, MailItem, MailState
from console.words import _
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Person
from quota.errors import N_, WrongState

blueprint = Blueprint("mails", __name__, url_prefix="/settings/mail")
frame.page("settings", "mails.index", N_("邮件"), order=45)

STATES = {
    MailState.WAITING.value: N_("待发送"),
    MailState.SENT.value: N_("已发送"),
    MailState.FAILED.value: N_("发送失败"),
}
_items = select(func.count()).where(MailItem.mail_id == Mail.id).correlate(Mail).scalar_subquery()
COLUMNS = [
    Column("id", N_("编号"), lambda r: r.Mail.id, sort=Mail.id, title=True),
    Column("person", N_("收件人"), lambda r: r.Mail.person.name, href=lambda r: _person(r.Mail)),
    Column("address", N_("邮箱"), lambda r: r.Mail.address, sort=Mail.address),
    Column("items", N_("通知数"), lambda r: r.items, number=True),
    Column("made", N_("制作时间"), lambda r: r.Mail.made_at, sort=Mail.made_at),
    Column("state", N_("状态"), lambda r: f"mail_{r.Mail.state}", sort=Mail.state, state=True),
    Column("ended", N_("完成时间"), lambda r: r.Mail.ended_at, sort=Mail.ended_at),
    Column("attempts", N_("尝试次数"), lambda r: r.Mail.attempts, number=True, minor=True),
    Column("error", N_("服务器答复"), lambda r: _(r.Mail.error)),
]
FILTERS = [
    Filter("address", N_("邮箱"), lambda q, v: q.where(frame.matching(v, Mail.address))),
    Filter("state", N_("状态"), lambda q, v: q.where(Mail.state == v), options=STATES),
    Filter("since", N_("自"), since(Mail.made_at), kind="date"),
    Filter("until", N_("至"), until(Mail.made_at), kind="date"),
]


def _person(mail: Mail) -> str:
    return url_for("people.show", person_id=mail.person_id)


@blueprint.get("/")
@allow(Role.SYSADMIN)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = select(Mail, _items.label("items")).options(joinedload(Mail.person))
    found = listing(tx, query, COLUMNS, key=Mail.id, filters=FILTERS, sort="-id")
    reachable = select(func.count()).select_from(Person).where(Person.active, Person.granted)
    return found.exported("mails") or render_template(
        "mails/index.html",
        mails=found,
        own=_own(tx),
        people=tx.scalar(reachable),
        with_address=tx.scalar(reachable.where(Person.email != "")),
    )


@blueprint.post("/trial")
@allow(Role.SYSADMIN)
@takes()
def trial() -> Response:
    """A mail to oneself, at once: whatever is wrong is said on the page."""
    tx = reading()
    if not settings().mail_server:
        raise WrongState("mail.none", N_("尚未设置邮件服务器"))
    address = _own(tx)
    if not address:
        raise WrongState("mail.address", N_("您的账号没有邮箱地址"))
    try:
        postman.trial(named(settings(), tx), current_user.name, address, tx.now)
    except (OSError, smtplib.SMTPException) as fault:
        flash(_("未能发出：%(error)s", error=f"{type(fault).__name__}: {fault}"), "error")
    else:
        flash(_("测试邮件已交给邮件服务器，收件人 %(address)s", address=address), "success")
    return redirect(url_for("mails.index"))


@blueprint.post("/<int:mail_id>/again")
@allow(Role.SYSADMIN)
@takes()
def again(mail_id: int) -> Response:
    with transaction() as tx:
        mails.again(tx, mail_id)
    flash(_("已重新排队"), "success")
    return redirect(url_for("mails.index"))


def _own(tx: Tx) -> str:
    return tx.scalar(select(Person.email).where(Person.login == current_user.login)) or ""


@frame.home_block(Role.SYSADMIN, order=25)
def failed(tx: Tx, _who: Actor) -> str | None:
    """Mails that could not be sent; nothing where there is none."""
    count = tx.scalar(select(func.count()).select_from(Mail).where(Mail.state == MailState.FAILED.value))
    return render_template("mails/_home.html", count=count) if count else None


@checklist.step("mail", N_("邮件"), N_("设置本市的邮件服务器（mail_server、mail_from），待办才会发邮件告知。"), Role.SYSADMIN,
                endpoint="mails.index", order=140, optional=True)  # fmt: skip
def _set_up(look: Look) -> bool:
    return bool(look.settings.mail_server)

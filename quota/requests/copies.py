"""Asking again for the same (再次申请): a request is copied into a new draft, and those that come again and again are kept under a name
(常用申请). What is copied is what was asked for, without its term: a draft says everything that is asked for itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship

from quota.base import Base
from quota.directory import departments
from quota.errors import N_, Conflict, Invalid, NotFound, WrongState, stated
from quota.requests import asks, formbook, progress, submission
from quota.requests.asks import Ask
from quota.requests.declarations import About, RequestField, kind_of
from quota.requests.tables import Request, RequestLine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quota.db import Tx

LONGEST = 48
MOST = 60
"""Templates of a department that the page of new requests offers at once."""


class RequestTemplate(Base):
    """A request of a department's own that it copies again and again, under a name; one that has ended is offered no more."""

    __tablename__ = "request_templates"

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("requests.id"))
    name: Mapped[str] = mapped_column(String(LONGEST))
    made_at: Mapped[datetime]
    made_by: Mapped[str] = mapped_column(String(64))
    ended_at: Mapped[datetime | None]

    request: Mapped[Request] = relationship()

    @property
    def subject(self) -> str:
        return f"request_template:{self.id}"


def copyable(request: Request) -> bool:
    """Whether asking for the same once more makes sense: not where it is about one thing that there is."""
    return kind_of(request).about is About.POOL


def copy(tx: Tx, request: Request, key: str | None = None) -> Request:
    """A draft that asks for what ``request`` asked for, of the own department or one below it. The same ``key`` again gives the first
    draft. Raises Invalid for a request about one thing, and what drafting raises."""
    progress.own(tx, request)
    if not copyable(request):
        raise Invalid("copy.about", N_("针对某一项资源或期限的申请不能复制，请在其页面上重新申请"))
    kind, system = formbook.today(tx, kind_of(request)), request.system
    mine = system is not None and system.department_id == request.department_id and system.active
    return submission.draft(
        tx,
        Ask(
            kind=kind,
            department_id=request.department_id if request.department.active else departments.acting(tx, tx.actor).id,
            pool_id=request.pool_id,
            lines=[replace(asks.again(one), fields=_answering(kind.each, one.fields)) for one in request.lines],
            justification=request.justification,
            system_id=request.system_id if mine else None,
            fields=_answering(kind.fields, request.fields),
            key=key,
        ),
    )


def _answering(asked: Sequence[RequestField], said: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``said`` answers what is ``asked`` today."""
    found: dict[str, Any] = {}
    for one in asked:
        with suppress(Invalid):
            formbook.fits(one, said.get(one.name))
            found |= {one.name: said[one.name]} if said.get(one.name) else {}
    return found


def offered(tx: Tx) -> Sequence[RequestTemplate]:
    """The templates of this transaction's actor's department, by name."""
    own = departments.acting(tx, tx.actor).id
    return tx.scalars(
        select(RequestTemplate)
        .where(RequestTemplate.department_id == own, RequestTemplate.ended_at.is_(None))
        .options(
            joinedload(RequestTemplate.request).joinedload(Request.pool),
            joinedload(RequestTemplate.request).selectinload(Request.lines).joinedload(RequestLine.item),
        )
        .order_by(RequestTemplate.name, RequestTemplate.id)
        .limit(MOST)
    ).all()


def template(tx: Tx, template_id: int) -> RequestTemplate:
    """A template of the own department, or NotFound."""
    found = tx.get(RequestTemplate, template_id)
    if found is None or found.department_id != departments.acting(tx, tx.actor).id:
        raise NotFound("template.none", N_("没有编号为 %(id)s 的常用申请"), id=template_id)
    return found


def keep(tx: Tx, request: Request, name: str) -> RequestTemplate:
    """Keep ``request`` under a name for the own department. Raises Invalid naming the field, Conflict for a name that is in use."""
    progress.own(tx, request)
    if not copyable(request):
        raise Invalid("copy.about", N_("针对某一项资源或期限的申请不能复制，请在其页面上重新申请"))
    name = stated(name, "name", code="template.name", message=N_("请填写名称"))
    if len(name) > LONGEST:
        raise Invalid("template.long", N_("须为 1 至 %(most)s 个字符"), most=LONGEST, field="name")
    own = departments.acting(tx, tx.actor).id
    tx.alone("request_templates")
    there = offered(tx)
    if any(one.name == name for one in there):
        raise Conflict("template.twice", N_("已有常用申请“%(name)s”"), name=name, field="name")
    if len(there) >= MOST:
        raise Invalid("template.many", N_("常用申请最多 %(most)s 项，请先停用不用的"), most=MOST, field="name")
    row = RequestTemplate(
        department_id=own, request_id=request.id, name=name, made_at=tx.now, made_by=tx.actor.login
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.audit("request_template.keep", row.subject, after={"name": name, "number": request.number})
    return row


def use(tx: Tx, template_id: int, key: str | None = None) -> Request:
    """A draft of what a template keeps. Raises WrongState for one that has ended."""
    row = template(tx, template_id)
    if row.ended_at is not None:
        raise WrongState("template.ended", N_("该常用申请已停用"))
    return copy(tx, row.request, key)


def end(tx: Tx, template_id: int) -> RequestTemplate:
    """Offer a template no more. Raises WrongState for one that has ended."""
    row = tx.lock(template(tx, template_id))
    if row.ended_at is not None:
        raise WrongState("template.ended", N_("该常用申请已停用"))
    row.ended_at = tx.now
    tx.flush()
    tx.audit("request_template.end", row.subject, before={"name": row.name})
    return row

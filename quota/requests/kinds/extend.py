"""延期: a later day until when what was granted is needed; done with the last signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quota.errors import N_, Conflict, Invalid
from quota.requests import progress, terms
from quota.requests.declarations import About, Question, RequestKind, Term, bounded, kind_of, register
from quota.requests.tables import Request

if TYPE_CHECKING:
    from datetime import date

    from quota.db import Tx


def check(tx: Tx, request: Request) -> None:
    """Refuse an extension that says no later day, no day where there must be one, or one beside another of the same term: Invalid or
    Conflict."""
    of = terms.extendable(tx, request.extends_id or 0, request)
    for_good = request.use_until is None and kind_of(request).term is Term.OPTIONAL and kind_of(of).bounds is None
    if not for_good:
        if of.use_until is None or request.use_until is None or request.use_until <= of.use_until:
            raise Invalid(
                "extend.earlier", N_("新的期限须晚于现在的期限 %(until)s"), until=str(of.use_until), field="use_until"
            )
        bounded(tx, of, request.use_until)
    if request.lines:
        raise Invalid("extend.lines", N_("延期不改变资源数量"), field="lines")
    busy = terms.extension(tx, of, apart_from=request.id)
    if busy is not None:
        raise Conflict(
            "extend.busy", N_("这个期限已有在办的延期申请 %(number)s,请等它办结"), number=busy.number, field="use_until"
        )


def as_long_as_its_kind_may(tx: Tx, request: Request, until: date) -> None:
    """Raises Invalid where what is extended may not last until then."""
    of = tx.get(Request, request.extends_id or 0)
    if of is not None:
        bounded(tx, of, until)


def move(tx: Tx, request: Request) -> None:
    """Move the term of what ``request`` is about, or end it where it says no day; a term that was moved further meanwhile stays."""
    of = progress.lock(tx, request.extends_id or 0)
    before = of.use_until
    if before is None or (request.use_until is not None and before >= request.use_until):
        return
    of.use_until = request.use_until
    progress.changed(
        tx,
        of,
        "request.extend",
        before={"use_until": before},
        after={"use_until": of.use_until, "extension": request.number},
    )


EXTEND = register(
    RequestKind(
        code="extend",
        label=N_("延期"),
        position=50,
        about=About.TERM,
        term=Term.REQUIRED,
        why=Question(N_("延期理由"), N_("写明继续使用的理由和期限；评审以此为据"), N_("请写明继续使用的理由")),
        check=check,
        signed=lambda request: {"extends": request.extends_id, "use_until": request.use_until},
        granted=move,
        bounds=as_long_as_its_kind_may,
        invites=N_("申请延期"),
        icon="calendar-event",
    )
)

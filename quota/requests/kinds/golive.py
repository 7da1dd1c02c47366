"""正式上线: what was granted for testing has run on trial and goes into production, until a later day or for good; done with the last signature.

How long a trial must last, which reports are put forward and who signs them are the city's rules (``trial_days``, ``annexes``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quota.errors import N_, Invalid
from quota.requests import progress, terms
from quota.requests.declarations import PURPOSE, About, Question, RequestField, RequestKind, Term, register
from quota.requests.kinds import extend
from quota.requests.tables import Request, RequestState

if TYPE_CHECKING:
    from quota.db import Tx

PRODUCTION = "production"
TRIED = frozenset({"test", "development"})
"""Purposes of what may go live."""


def on_trial(of: Request) -> bool:
    """Whether what ``of`` was granted is there for testing."""
    return of.fields.get(PURPOSE) in TRIED


def check(tx: Tx, request: Request) -> None:
    """Raise Invalid for what is not there for testing or not accepted yet, and as an extension of its term would."""
    of = terms.extendable(tx, request.extends_id or 0, request)
    if not on_trial(of):
        raise Invalid("golive.not_tried", N_("申请 %(number)s 不是测试或开发用途，不需要上线"), number=of.number)
    if of.state != RequestState.DONE:
        raise Invalid("golive.not_accepted", N_("申请 %(number)s 尚未验收，不能上线"), number=of.number)
    extend.check(tx, request)


def enter_production(tx: Tx, request: Request) -> None:
    """Move the term of what ``request`` is about, and say that it is production from now on."""
    extend.move(tx, request)
    of = progress.lock(tx, request.extends_id or 0)
    before = of.fields.get(PURPOSE, "")
    of.fields = {**of.fields, PURPOSE: PRODUCTION}
    after = {PURPOSE: PRODUCTION, "golive": request.number}
    progress.changed(tx, of, "request.golive", before={PURPOSE: before}, after=after)


GOLIVE = register(
    RequestKind(
        code="golive",
        label=N_("正式上线"),
        position=55,
        about=About.TERM,
        term=Term.OPTIONAL,
        summary=N_("%(number)s 正式上线，使用期限 %(until)s"),
        fields=(RequestField("result", N_("试运行与测评结论"), long=True, required=True),),
        headline=("result",),
        why=Question(N_("上线理由"), N_("写明试运行起止、发现的问题和整改情况"), N_("请写明试运行的情况")),
        check=check,
        signed=lambda request: {"extends": request.extends_id, "use_until": request.use_until, **request.fields},
        granted=enter_production,
        bounds=extend.as_long_as_its_kind_may,
        fits=on_trial,
        invites=N_("申请上线"),
        icon="circle-check",
    )
)

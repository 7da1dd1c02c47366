"""临时扩容: more of a machine's vCPU and memory for a key period or an emergency, until a day; it is given back by itself after it.

``providers.orders.returns`` gives it back, and leaves it where the machine is still needed as it is: there somebody decides."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from quota.calendar import ZONE
from quota.errors import N_, Invalid
from quota.requests.declarations import About, Compared, Lines, Question, RequestField, RequestKind, Term, register
from quota.requests.tasks import for_the_resource
from quota.units import MEMORY, VCPU

if TYPE_CHECKING:
    from datetime import date

    from quota.db import Tx
    from quota.requests.tables import Request

MOST_DAYS = 30
"""So long it may be lent from the day on which that is asked or extended. Our default; a city's rules may allow less."""


def only_more_and_not_for_long(tx: Tx, request: Request) -> None:
    """Raises Invalid where a line takes something away or touches more than vCPU and memory, and for a term that is too long."""
    for line in request.lines:
        for code, figure in line.difference().items():
            if figure < 0 or (figure and code not in (VCPU, MEMORY)):
                raise Invalid("temporary.more", N_("临时扩容只增加 vCPU 和内存"), field="lines")
    if request.use_until is not None:
        not_for_long(tx, request, request.use_until)


def not_for_long(tx: Tx, _request: Request, until: date) -> None:
    """Raises Invalid for a day that is too far off."""
    if until > tx.now.astimezone(ZONE).date() + timedelta(days=MOST_DAYS):
        raise Invalid("temporary.long", N_("临时扩容最长 %(days)s 天"), days=MOST_DAYS, field="use_until")


TEMPORARY = register(
    RequestKind(
        code="temporary",
        label=N_("临时扩容"),
        position=25,
        about=About.RESOURCE,
        lines=Lines(items=True, named=(VCPU, MEMORY)),
        fields=(RequestField("occasion", N_("重保或应急事项"), required=True),),
        term=Term.REQUIRED,
        why=Question(N_("扩容理由"), N_("写明预计的峰值和时段；期满自动恢复原规格"), N_("请写明预计的峰值和时段")),
        tasks=for_the_resource("resize"),
        check=only_more_and_not_for_long,
        bounds=not_for_long,
        compares=Compared.NAMED,
        returns=True,
        invites=N_("临时扩容"),
        icon="clock",
        services=frozenset({"vm"}),
    )
)

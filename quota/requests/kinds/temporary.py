"""临时扩容: more of a machine's vCPU and memory for a key period or an emergency, until a day or an hour of it; it is given back by itself after it. Asked
for a peak that is still to come (重保), it is reserved: the machine grows some hours before.

``providers.orders.returns`` gives it back, and leaves it where the machine is still needed as it is: there somebody decides."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from quota.calendar import ZONE
from quota.errors import N_, Invalid
from quota.requests.declarations import About, Compared, Lines, Question, RequestField, RequestKind, Term, register
from quota.requests.rules import RuleFact
from quota.requests.tasks import for_the_resource
from quota.units import MEMORY, VCPU

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.requests.tables import Request

MOST_DAYS = 30
"""So long it may be lent from the day on which that is asked or extended, or on which its window begins. Our default; a city's rules may
allow less."""

MOST_AHEAD = 180
"""So many days ahead a window may be reserved."""

AHEAD = {"2": N_("提前2小时"), "24": N_("提前1天"), "72": N_("提前3天")}
"""Hours before the peak at which the machine grows → words; where nothing is said, a day."""


HOURS = {f"{hour:02d}": f"{hour:02d}:00" for hour in range(1, 24)}
"""Hours of the last day, in the city's time, at which it goes back; where nothing is said, when the day is over."""


def only_more_and_not_for_long(tx: Tx, request: Request) -> None:
    """Raises Invalid where a line takes something away or touches more than vCPU and memory, and for a term that is too long."""
    for line in request.lines:
        for code, figure in line.difference().items():
            if figure < 0 or (figure and code not in (VCPU, MEMORY)):
                raise Invalid("temporary.more", N_("临时扩容只增加 vCPU 和内存"), field="lines")
    today, peak = tx.now.astimezone(ZONE).date(), peak_of(request)
    if peak is not None and not today <= peak <= today + timedelta(days=MOST_AHEAD):
        raise Invalid("temporary.begins", N_("高峰开始日须在今天之后%(days)s天以内"), days=MOST_AHEAD, field="begins")
    if request.use_until is not None:
        not_for_long(tx, request, request.use_until)
        if peak is not None and request.use_until < peak:
            raise Invalid("temporary.backwards", N_("使用期限不能早于高峰开始日"), field="use_until")
        ends = goes_at(request)
        if ends is not None and ends <= tx.now:
            raise Invalid("temporary.hour", N_("恢复钟点须晚于现在"), field="hour")


def not_for_long(tx: Tx, request: Request, until: date) -> None:
    """Raises Invalid for a day that is too far off."""
    today, peak = tx.now.astimezone(ZONE).date(), peak_of(request)
    if until > max(today, peak or today) + timedelta(days=MOST_DAYS):
        raise Invalid("temporary.long", N_("临时扩容最长 %(days)s 天"), days=MOST_DAYS, field="use_until")


def peak_of(request: Request) -> date | None:
    """The first day of the peak that it is reserved for; None where it is wanted at once."""
    said = request.fields.get("begins")
    return date.fromisoformat(said) if said else None


def hours_ahead(request: Request) -> int:
    """So many hours before that day begins the machine grows."""
    return int(request.fields.get("ahead") or 24)


def grows_at(request: Request) -> datetime | None:
    """When the machine is to grow; None: at once."""
    peak = peak_of(request)
    return None if peak is None else datetime.combine(peak, time(), ZONE) - timedelta(hours=hours_ahead(request))


def goes_at(request: Request) -> datetime | None:
    """When within its last day it goes back; None: when the day is over."""
    said = request.fields.get("hour")
    if not said or request.use_until is None:
        return None
    return datetime.combine(request.use_until, time(int(said)), ZONE)


def _sees(request: Request) -> dict[str, bool]:
    return {"emergency": request.kind == "temporary" and request.fields.get("nature") == "emergency"}


def _signed(request: Request) -> dict[str, str]:
    return {name: said for name in ("begins", "ahead", "hour") if (said := request.fields.get(name))}


TEMPORARY = register(
    RequestKind(
        code="temporary",
        label=N_("临时扩容"),
        position=25,
        about=About.RESOURCE,
        lines=Lines(items=True, named=(VCPU, MEMORY)),
        fields=(
            RequestField("occasion", N_("重保或应急事项"), required=True),
            RequestField("nature", N_("重保还是应急"), choices={"event": N_("重保活动"), "emergency": N_("应急")}),
            RequestField("hour", N_("到期日几点恢复（不填为当日结束）"), choices=HOURS),
            RequestField("begins", N_("高峰开始日（预定；不填为立即扩容）"), day=True),
            RequestField("ahead", N_("高峰前何时扩容（不填为提前1天）"), choices=AHEAD),
        ),
        term=Term.REQUIRED,
        why=Question(N_("扩容理由"), N_("写明预计的峰值和时段；期满自动恢复原规格"), N_("请写明预计的峰值和时段")),
        tasks=for_the_resource("resize"),
        check=only_more_and_not_for_long,
        bounds=not_for_long,
        compares=Compared.NAMED,
        returns=True,
        starts=grows_at,
        ends=goes_at,
        facts={"emergency": RuleFact(bool, N_("应急扩容"), False)},
        sees=_sees,
        signed=_signed,
        invites=N_("临时扩容"),
        icon="clock",
        services=frozenset({"vm"}),
    )
)

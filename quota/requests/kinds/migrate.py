"""迁移: a resource is made anew in another pool (another zone, architecture or company), by a plan; both are there until it is switched over.

It goes on being what it was approved as: for the same purpose, until the same day, and without what was only lent to it.

``providers.orders.migrations`` retires the old one once the department has said that its service runs on the new one, gives the new one
back where it is abandoned, and asks where neither is said in time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from quota.calendar import ZONE
from quota.errors import N_, Invalid
from quota.inventory import Resource
from quota.requests import terms
from quota.requests.declarations import (
    PURPOSE,
    PURPOSES,
    About,
    Compared,
    Lines,
    Question,
    RequestField,
    RequestKind,
    Term,
    kind_of,
    register,
)
from quota.requests.tasks import for_each_piece
from quota.units import BLOCK, MEMORY, VCPU

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from quota.db import Tx
    from quota.requests.tables import Request

SIDE_BY_SIDE = "side_by_side"
"""The field that says for how many days after acceptance both may be there before the department is asked."""
DAYS = {"3": N_("3 天"), "7": N_("7 天"), "14": N_("14 天"), "30": N_("30 天"), "60": N_("60 天"), "90": N_("90 天")}
PLAN = N_("迁移方案")


def carry_over(tx: Tx, request: Request) -> None:
    """Give what is made the purpose and the term of what it takes the place of, where the request says none."""
    granted = _granted(tx, request)
    purpose, until = _purpose(granted), _until(granted)
    if purpose and not request.fields.get(PURPOSE):
        request.fields = {**request.fields, PURPOSE: purpose}
    if until is not None and request.use_until is None and until >= tx.now.astimezone(ZONE).date():
        request.use_until = until


def as_it_was_approved(tx: Tx, request: Request) -> None:
    """Raises Invalid where what is made is another kind of service than what there is, is for another purpose or for longer, and where
    some of what there is was only lent."""
    resource, granted = request.resource, _granted(tx, request)
    if resource is None:
        return
    if any(line.service != resource.kind for line in request.lines):
        raise Invalid("migrate.service", N_("迁移前后的服务类型须相同"), field="lines")
    loan = next((one for one in granted if kind_of(one).returns), None)
    if loan is not None:
        raise Invalid(
            "migrate.lent", N_("资源 %(name)s 的临时扩容（申请 %(number)s）尚未归还，请归还后再迁移"), name=resource.called,
            number=loan.number, field="resource_id",
        )  # fmt: skip
    purpose, until = _purpose(granted), _until(granted)
    if purpose and request.fields.get(PURPOSE) != purpose:
        raise Invalid(
            "migrate.purpose",
            N_("迁移不改变使用性质，原资源为“%(purpose)s”"),
            purpose=PURPOSES.get(purpose, purpose),
            field=PURPOSE,
        )
    if until is None:
        return
    if until < tx.now.astimezone(ZONE).date():
        raise Invalid(
            "migrate.term_over",
            N_("原资源的使用期限 %(until)s 已过，请先申请延期"),
            until=str(until),
            field="use_until",
        )
    if request.use_until is None or request.use_until > until:
        raise Invalid(
            "migrate.longer", N_("迁移不延长使用期限，原资源的期限为 %(until)s；要更久的请另行申请延期"), until=str(until),
            field="use_until",
        )  # fmt: skip


def _granted(tx: Tx, request: Request) -> Sequence[Request]:
    resource = tx.get(Resource, request.resource_id)
    return terms.granted(tx, resource) if resource is not None else ()


def _purpose(granted: Sequence[Request]) -> str:
    return next((said for one in granted if (said := one.fields.get(PURPOSE, ""))), "")


def _until(granted: Sequence[Request]) -> date | None:
    """The first day that ends anything of what was granted, but for loans; None: nothing ends."""
    ends = [one.use_until for one in granted if terms.running(one) and not kind_of(one).returns]
    return min((one for one in ends if one is not None), default=None)


MIGRATE = register(
    RequestKind(
        code="migrate",
        label=N_("迁移"),
        position=28,
        about=About.RESOURCE,
        moves=lambda request: timedelta(days=int(request.fields.get(SIDE_BY_SIDE) or 0)),
        lines=Lines(items=True, named=(VCPU, MEMORY, BLOCK)),
        fields=(
            RequestField(PURPOSE, N_("使用性质"), choices=PURPOSES),
            RequestField("window", N_("切换窗口"), PLAN, required=True),
            RequestField("steps", N_("实施步骤"), PLAN, long=True, required=True),
            RequestField("fallback", N_("回退方案"), PLAN, long=True, required=True),
            RequestField(SIDE_BY_SIDE, N_("新旧并行期限"), PLAN, required=True, choices=DAYS),
        ),
        term=Term.OPTIONAL,
        why=Question(N_("迁移理由"), N_("写明迁移理由、选择新资源池的依据和数据迁移方式"), N_("请写明迁移的理由")),
        check=as_it_was_approved,
        carries=carry_over,
        signed=lambda request: {"plan": request.fields},
        tasks=for_each_piece("create"),
        compares=Compared.ALL,
        invites=N_("迁移"),
        icon="arrows-exchange",
        services=frozenset({"vm", "bare_metal", "database"}),
    )
)

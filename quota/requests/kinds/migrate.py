"""迁移: a resource is made anew in another pool (another zone, architecture or company), by a plan; both are there until it is switched over.

``providers.orders.migrations`` retires the old one once the department has said that its service runs on the new one, gives the new one
back where it is abandoned, and asks where neither is said in time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from quota.errors import N_, Invalid
from quota.requests.declarations import About, Compared, Lines, Question, RequestField, RequestKind, Term, register
from quota.requests.tasks import for_each_piece
from quota.units import BLOCK, MEMORY, VCPU

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.requests.tables import Request

SIDE_BY_SIDE = "side_by_side"
"""The field that says for how many days after acceptance both may be there before the department is asked."""
DAYS = {"3": N_("3 天"), "7": N_("7 天"), "14": N_("14 天"), "30": N_("30 天"), "60": N_("60 天"), "90": N_("90 天")}
PLAN = N_("迁移方案")


def of_the_same_service(_tx: Tx, request: Request) -> None:
    """Raises Invalid where what is made is another kind of service than what there is."""
    resource = request.resource
    if resource is not None and any(line.service != resource.kind for line in request.lines):
        raise Invalid("migrate.service", N_("迁移前后的服务类型须相同"), field="lines")


MIGRATE = register(
    RequestKind(
        code="migrate",
        label=N_("迁移"),
        position=28,
        about=About.RESOURCE,
        moves=lambda request: timedelta(days=int(request.fields.get(SIDE_BY_SIDE) or 0)),
        lines=Lines(items=True, named=(VCPU, MEMORY, BLOCK)),
        fields=(
            RequestField("window", N_("切换窗口"), PLAN, required=True),
            RequestField("steps", N_("实施步骤"), PLAN, long=True, required=True),
            RequestField("fallback", N_("回退方案"), PLAN, long=True, required=True),
            RequestField(SIDE_BY_SIDE, N_("新旧并行期限"), PLAN, required=True, choices=DAYS),
        ),
        term=Term.OPTIONAL,
        why=Question(N_("迁移理由"), N_("写明为什么迁移、新资源池为什么合适、数据怎样迁"), N_("请写明迁移的理由")),
        check=of_the_same_service,
        signed=lambda request: {"plan": request.fields},
        tasks=for_each_piece("create"),
        compares=Compared.ALL,
        invites=N_("迁移"),
        icon="arrows-exchange",
        services=frozenset({"vm", "bare_metal", "database"}),
    )
)

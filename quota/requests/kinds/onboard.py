"""接入: an information system is taken onto the government cloud, before it is given machines there: who uses it, at which level it is
protected, what data it has, who answers for it. The last signature writes that into the register of systems and has the company of its
pool make it ready (a ticket); from then on rules know it as taken in."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from quota.directory import DATA_LEVELS, System, departments
from quota.errors import N_, Conflict, Invalid
from quota.requests import facts
from quota.requests.declarations import NumberBounds, Question, RequestField, RequestKind, register
from quota.requests.rules import RuleFact
from quota.requests.tables import OPEN, Request, RequestState

if TYPE_CHECKING:
    from quota.db import Tx

CODE = "onboard"
LEVELS = {"1": N_("等保一级"), "2": N_("等保二级"), "3": N_("等保三级"), "4": N_("等保四级"), "5": N_("等保五级")}
ORIGINS = {"new": N_("新建"), "moved": N_("由云外迁入")}
WHOLE = NumberBounds(Decimal(0), Decimal(2**31 - 1))
SAYS = ("mlps_record", "data_level", "owner", "phone", "users", "vendor")
"""Fields that the register of systems has under the same name, as text."""
SYSTEM, PROTECTION, PEOPLE = N_("系统情况"), N_("等保、密评与数据"), N_("责任人与单位")


def check(tx: Tx, request: Request) -> None:
    """Raise Invalid for what the register of systems cannot take, Conflict where it is taken in already or being so."""
    if request.system is None:
        raise Invalid("onboard.system", N_("请选择要接入的信息系统"), field="system_id")
    for name in SAYS:
        most = getattr(System, name).type.length
        if len(str(request.fields.get(name, ""))) > most:
            raise Invalid("onboard.long", N_("“%(name)s”最长 %(most)s 字"), name=_LABELS[name], most=most, field=name)
    users = str(request.fields.get("registered_users", ""))
    if users and not users.isdigit():
        raise Invalid("onboard.users", N_("注册用户数须为整数"), field="registered_users")
    if request.fields.get("origin") == "moved" and not request.fields.get("moved_from"):
        raise Invalid("onboard.moved_from", N_("迁入的系统请写明原部署地点"), field="moved_from")
    other = tx.scalar(_of_system(request.system.id).where(Request.pool_id == request.pool_id, Request.id != request.id))
    if other is not None:
        raise Conflict(
            "onboard.twice",
            N_("该信息系统已由申请 %(number)s 接入这个资源池，或正在申请"),
            number=other,
            field="system_id",
        )


def _of_system(system_id: int) -> Any:
    """Numbers of requests that took a system in, or are to."""
    state = or_(Request.state.in_(OPEN), Request.state == RequestState.DONE)
    return select(Request.number).where(Request.kind == CODE, Request.system_id == system_id, state).limit(1)


def granted(tx: Tx, request: Request) -> None:
    """What was approved is what the register says of the system from now on."""
    said: dict[str, Any] = {name: text for name in SAYS if (text := request.fields.get(name))}
    for name, field in (("mlps_level", "mlps"), ("crypto_level", "crypto"), ("registered_users", "registered_users")):
        if request.fields.get(field):
            said[name] = int(request.fields[field])
    if request.fields.get("online_on"):
        said["online_on"] = date.fromisoformat(request.fields["online_on"])
    departments.amend(tx, departments.system(tx, request.system_id or 0), said)


def _taken_in(tx: Tx, request: Request) -> bool | None:
    if request.system_id is None:
        return None
    done = _of_system(request.system_id).where(Request.state == RequestState.DONE)
    return tx.scalar(done) is not None


facts.register("onboarded", RuleFact(bool, N_("信息系统已接入"), True), _taken_in)

FIELDS = (
    RequestField("origin", N_("新建或迁入"), SYSTEM, required=True, choices=ORIGINS),
    RequestField("moved_from", N_("原部署地点"), SYSTEM),
    RequestField("users", N_("使用对象"), SYSTEM, required=True),
    RequestField("registered_users", N_("注册用户数"), SYSTEM, number=WHOLE),
    RequestField("networks", N_("需要接入的网络"), SYSTEM, long=True, required=True),
    RequestField("online_on", N_("计划上线日期"), SYSTEM, day=True),
    RequestField("mlps", N_("等保级别"), PROTECTION, required=True, choices=LEVELS),
    RequestField("mlps_record", N_("等保备案号"), PROTECTION, hint=N_("二级及以上须备案，并附备案证明")),
    RequestField("crypto", N_("密评级别"), PROTECTION, choices={str(one): str(one) for one in range(1, 5)}),
    RequestField("data_level", N_("数据级别"), PROTECTION, required=True, choices=DATA_LEVELS),
    RequestField("owner", N_("系统负责人"), PEOPLE, required=True),
    RequestField("phone", N_("联系电话"), PEOPLE, required=True),
    RequestField("vendor", N_("开发单位与联系人"), PEOPLE),
    RequestField("operator", N_("运维单位与联系人"), PEOPLE),
    RequestField("handover_mail", N_("交付接收邮箱"), PEOPLE),
)
_LABELS = {one.name: one.label for one in FIELDS}

ONBOARD = register(
    RequestKind(
        code=CODE,
        label=N_("接入"),
        position=5,
        fields=FIELDS,
        headline=("mlps", "users"),
        why=Question(
            N_("接入理由"), N_("写明业务、部署方式、与其他系统的关系和接入计划"), N_("请写明业务、部署方式和接入计划")
        ),
        check=check,
        granted=granted,
        facts={"onboard_level": RuleFact(int, N_("申请接入的系统的等保级别"), 0)},
        sees=lambda request: {"onboard_level": int(request.fields.get("mlps") or 0) if request.kind == CODE else 0},
        by_ticket="change",
        hint=N_("信息系统上政务云：登记等保级别、数据级别、使用对象和责任人，通过后由云服务商做好接入准备"),
    )
)

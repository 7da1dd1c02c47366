"""Targets: what must be true of the resource that a request is about, whoever hands it in: a page, an import, an interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from quota.db import among
from quota.errors import N_, Conflict, Invalid
from quota.inventory import Resource, ResourceState, engagements, takeovers
from quota.requests.declarations import kind_of, known
from quota.requests.tables import OPEN, Request
from quota.units import CLASSES

if TYPE_CHECKING:
    from quota.db import Tx


def check(tx: Tx, request: Request) -> None:
    """Refuse a request about a resource, or a register's row, that is not its department's to ask about, or not as the request says.

    Raises Invalid where the resource is another department's, in another pool, or gone; where nobody approved it (nothing is
    counted for it, so nothing can be returned of it) or, for a request that is about such a one, somebody did; where something else is being done to it; where it changed since the
    request was written. Raises Conflict where another open request is about it.
    """
    if request.entry_id is not None:
        _entered(tx, request, request.entry_id)
    if request.resource_id is None:
        return
    resource = tx.get_one(Resource, request.resource_id)
    _theirs(request, resource)
    _counted(request, resource)
    _fits(request, resource)
    must_be_free(tx, request, resource)


def must_be_free(tx: Tx, request: Request, resource: Resource) -> None:
    """Refuse to do anything to ``resource`` for ``request`` while another open request is about it (Conflict) or something else is
    being done to it (Invalid)."""
    busy = tx.scalar(
        select(Request.number).where(
            Request.resource_id == resource.id, Request.id != request.id, Request.state.in_(OPEN)
        )
    )
    if busy is not None:
        raise Conflict(
            "request.resource_busy",
            N_("这个资源已有在办申请 %(number)s,请等它办结"),
            number=busy,
            field="resource_id",
        )
    engagements.must_be_free(tx, resource)


def _entered(tx: Tx, request: Request, entry_id: int) -> None:
    """Refuse a row of a register that is another department's (Invalid), or about which another request is open (Conflict)."""
    register = kind_of(request).register
    if register is None:
        return
    found = register.find(tx, entry_id)
    tx.lock(found)
    if found.department_id != request.department_id:
        raise Invalid("request.entry_elsewhere", N_("“%(name)s”不属于申请单位"), name=found.called, field="entry")
    same = [one.code for one in known() if one.register is register]
    busy = tx.scalar(
        select(Request.number).where(
            Request.entry_id == entry_id, Request.kind.in_(same), Request.id != request.id, Request.state.in_(OPEN)
        )
    )
    if busy is not None:
        told = {"name": found.called, "number": busy, "field": "entry"}
        raise Conflict("request.entry_busy", N_("“%(name)s”已有在办申请 %(number)s，请等它办结"), **told)


def _theirs(request: Request, resource: Resource) -> None:
    name = resource.called
    if resource.department_id != request.department_id:
        raise Invalid("request.resource_elsewhere", N_("资源 %(name)s 不属于申请单位"), name=name, field="resource_id")
    if kind_of(request).moves:
        if resource.pool_id == request.pool_id:
            raise Invalid(
                "migrate.same_pool", N_("资源 %(name)s 已在资源池“%(pool)s”，请选择另一个资源池"), name=name,
                pool=request.pool.name, field="pool_id",
            )  # fmt: skip
    elif resource.pool_id != request.pool_id:
        raise Invalid(
            "request.resource_pool", N_("资源 %(name)s 不在资源池“%(pool)s”"), name=name, pool=request.pool.name,
            field="resource_id",
        )  # fmt: skip
    if resource.gone_at is not None or resource.state == ResourceState.DELETED:
        raise Invalid("request.resource_gone", N_("资源 %(name)s 已不存在"), name=name, field="resource_id")


def as_it_stands(request: Request, resource: Resource) -> None:
    """Refuse (Conflict) to book a resource that was approved meanwhile, is another department's, or is not as the request has it."""
    name = resource.called
    if resource.is_approved:
        raise Conflict("request.approved", N_("资源 %(name)s 已有审批依据,不需要补登或退还"), name=name)
    if resource.department_id != request.department_id or resource.gone_at is not None:
        raise Conflict("request.resource_moved", N_("资源 %(name)s 已不属于申请单位,或已不存在"), name=name)
    if (request.lines[0].granted_amounts if request.lines else {}) != resource.amounts:
        raise Conflict("request.resource_changed", N_("提交之后资源 %(name)s 的规格已变化,请退回补正"), name=name)


def _counted(request: Request, resource: Resource) -> None:
    name, kind = resource.called, kind_of(request)
    if kind.unapproved:
        if resource.is_approved:
            raise Invalid(
                "request.approved", N_("资源 %(name)s 已有审批依据,不需要补登或退还"), name=name, field="resource_id"
            )  # fmt: skip
        stands = kind.lines is not None and kind.lines.stands
        if stands and not resource.fits_its_pool:
            raise Invalid(
                "request.arch", N_("资源 %(name)s 与资源池“%(pool)s”的架构不同,不能计入该资源池"), name=name,
                pool=resource.pool.name, field="resource_id",
            )  # fmt: skip
        if stands and (request.lines[0].asked if request.lines else {}) != resource.amounts:
            raise Invalid(
                "request.reshaped", N_("拟稿之后资源 %(name)s 的规格已变化,请修改申请"), name=name, field="resource_id"
            )
        return
    if not resource.is_approved:
        raise Invalid(
            "request.unapproved", N_("资源 %(name)s 未经批准,尚未计入配额,请先申请补登或退还,或由运营监督方凭文件接管"), name=name,
            field="resource_id",
        )  # fmt: skip
    if not kind.moves and any(line.current != resource.booked for line in request.lines):
        raise Invalid(
            "request.reshaped", N_("拟稿之后资源 %(name)s 的规格已变化,请修改申请"), name=name, field="resource_id"
        )


def _fits(request: Request, resource: Resource) -> None:
    """Refuse what such a thing cannot be or have: a disk with vCPU, a machine as an item of the catalogue that is a database."""
    kind, name = kind_of(request), resource.called
    if kind.services is not None and resource.kind not in kind.services:
        wrong = N_("“%(kind)s”不适用于资源 %(name)s")
        raise Invalid("request.service", wrong, kind=kind.label, name=name, field="resource_id")
    for line in request.lines:
        if line.item is not None and line.item.service != resource.kind:
            wrong = N_("目录规格“%(item)s”与资源 %(name)s 不是同一种服务")
            raise Invalid("request.item_fits", wrong, item=line.item.name, name=name, field="item")
        for code, figure in line.difference().items():
            if figure and code not in resource.can_have:
                wrong = N_("资源 %(name)s 这种服务没有%(what)s，不能申请增减")
                raise Invalid("request.class_fits", wrong, name=name, what=CLASSES[code].label, field=f"amount_{code}")


@takeovers.conflict
def _asked(tx: Tx, resources: Sequence[Resource]) -> Iterable[takeovers.Conflicting]:
    """What an open request asks for is not taken over beside it."""
    query = select(Request.resource_id, Request.number).where(
        among(Request.resource_id, [one.id for one in resources]), Request.state.in_(OPEN)
    )
    numbers = dict(tx.execute(query).all())
    for one in resources:
        if one.id in numbers:
            told = {"name": one.called, "number": numbers[one.id]}
            yield takeovers.Conflicting(
                one, N_("资源 %(name)s 已有在办申请 %(number)s,请等它办结"), told, barring=True
            )  # fmt: skip

"""What somebody typed, how it becomes the lines of a request, and whether it is ready to be judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from quota import inventory, ledger
from quota.calendar import ZONE
from quota.directory import catalog, departments, pools
from quota.errors import N_, Invalid
from quota.inventory import Resource
from quota.ledger import Holder, Side, lending
from quota.requests import facts, formbook, targets, tasks, terms
from quota.requests.declarations import About, RequestKind, Term, kind_of
from quota.requests.tables import Request, RequestLine
from quota.seals import fingerprint
from quota.units import CLASSES, Amount, Arch, ClassCode, shown

if TYPE_CHECKING:
    from quota.db import Tx

MIN_JUSTIFICATION = 10
"""Characters, blanks not counted."""
LONGEST = 500
"""Characters of a field of a line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One position of an ask, as RequestLine. With ``item_id`` what is asked is the catalogue's.

    What else it may say is its request kind's matter (declarations.Lines): one that moves a resource has what the item leaves out as
    ``asked`` says. About a resource it says what that has now
    (``current``); classes that ``asked`` leaves out then stay. ``fields``: those of its kind that each line may say (RequestField.each).
    """

    item_id: int | None = None
    asked: Mapping[ClassCode, int] = field(default_factory=dict)
    quantity: int = 1
    current: Mapping[ClassCode, int] = field(default_factory=dict)
    service: str = ""
    name: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def again(line: RequestLine) -> Line:
    """What asks for the same as ``line``."""
    return Line(
        item_id=line.item_id,
        asked={} if line.item_id else {ClassCode(code): figure for code, figure in line.asked.items()},
        quantity=line.quantity,
        service=line.service,
        name=line.name,
        fields=dict(line.fields),
    )


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody typed. ``key`` (one a form) makes sending it twice harmless."""

    kind: RequestKind
    department_id: int
    pool_id: int
    lines: Sequence[Line] = ()
    justification: str = ""
    system_id: int | None = None
    resource_id: int | None = None
    use_until: date | None = None
    extends_id: int | None = None
    entry_id: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None


def write(tx: Tx, request: Request, ask: Ask) -> None:
    """Make ``request`` say what ``ask`` says. Lines that ask for the same as before stay, with what is approved."""
    kind = formbook.today(tx, ask.kind) if request.submitted_at is None else formbook.form_of(tx, request)
    ask = replace(ask, kind=kind)
    unknown = sorted(set(ask.fields) - {one.name for one in kind.fields})
    if unknown:
        raise Invalid("request.field", N_("申请没有这个字段:%(name)s"), name=unknown[0], field=unknown[0])
    for one in kind.fields:
        formbook.fits(one, ask.fields.get(one.name))
    if kind.term is Term.NONE and ask.use_until is not None:
        raise Invalid("request.use_until", N_("“%(kind)s”没有使用期限"), kind=kind.label, field="use_until")
    request.pool_id = pools.pool(tx, ask.pool_id).id
    request.system_id = departments.system(tx, ask.system_id).id if ask.system_id is not None else None
    request.resource_id = inventory.resource(tx, ask.resource_id).id if ask.resource_id is not None else None
    request.extends_id = terms.extendable(tx, ask.extends_id, request).id if ask.extends_id is not None else None
    request.entry_id, request.entry_called = _entry(tx, ask)
    request.justification = ask.justification.strip()
    request.use_until = ask.use_until
    request.fields = dict(ask.fields)
    lines = [_line(tx, ask, one, n) for n, one in enumerate(ask.lines, start=1)]
    if _spelled(lines) != _spelled(request.lines):
        request.lines.clear()
        tx.flush()  # positions are unique: the old lines go first
        request.lines.extend(lines)
    if kind.carries is not None:
        kind.carries(tx, request)


def imagined(tx: Tx, ask: Ask) -> Request:
    """The request that ``ask`` would make, in no session: nothing of it is written. Raises as ``write`` does."""
    request = Request(
        kind=ask.kind.code,
        department=departments.department(tx, ask.department_id),
        department_id=ask.department_id,
        pool=pools.pool(tx, ask.pool_id),
        pool_id=ask.pool_id,
        system=departments.system(tx, ask.system_id) if ask.system_id is not None else None,
        resource=inventory.resource(tx, ask.resource_id) if ask.resource_id is not None else None,
        resource_id=ask.resource_id,
        entry_id=ask.entry_id,
        entry_called=_entry(tx, ask)[1],
        justification=ask.justification.strip(),
        use_until=ask.use_until,
        fields=dict(ask.fields),
        lines=[_line(tx, ask, one, n) for n, one in enumerate(ask.lines, start=1)],
    )
    if ask.kind.carries is not None:
        ask.kind.carries(tx, request)
    return request


def _entry(tx: Tx, ask: Ask) -> tuple[int | None, str]:
    """The row of a register that it is about, and what that is called."""
    if ask.entry_id is None or ask.kind.register is None:
        return None, ""
    return ask.entry_id, str(ask.kind.register.find(tx, ask.entry_id).called)[:128]


def moved(resource: Resource, item_id: int | None, named: Mapping[ClassCode, int]) -> Line:
    """The line of a request that moves ``resource``: made anew as it is counted, but for what is ``named`` or what the catalogue's item
    says. Raises Invalid for both."""
    if item_id and named:
        raise Invalid("request.item_or_amounts", N_("目录规格和自定义数量只能填一种"), field="item")
    return Line(
        item_id=item_id or None, asked={**resource.counts(), **named}, service=resource.kind, name=resource.name[:96]
    )


def takes(tx: Tx, ask: Ask) -> ledger.Classes:
    """What ``ask`` would add to the department's, by class in base units. Writes nothing. Raises as ``write`` does."""
    lines = [_line(tx, ask, one, n) for n, one in enumerate(ask.lines, start=1)]
    return Amount.total(line.takes() for line in lines).of_arch(Arch(pools.pool(tx, ask.pool_id).arch))


def _line(tx: Tx, ask: Ask, line: Line, position: int) -> RequestLine:
    wanted, service = line.asked, line.service
    if line.item_id is not None:
        item = catalog.item(tx, line.item_id)
        kept = line.asked if ask.kind.moves else {}  # what the item does not name goes along: a disk, say
        wanted, service = {**kept, **item.takes()}, item.service
    says = ask.kind.lines
    if says is not None and says.wanted and ask.kind.about is About.RESOURCE:
        wanted = {**line.current, **wanted}  # what the new shape does not name stays: a disk, say
    count = line.quantity
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 10_000:
        raise Invalid("request.quantity", N_("数量须为 1 至 10000 的整数"), field="quantity")
    current, asked = _figures(line.current), _figures(wanted, signed=says is not None and says.signed)
    for kind, figure in asked.items():
        if figure > current.get(kind, 0) and not (says is not None and says.stands):
            CLASSES.offered(ClassCode(kind))
    return RequestLine(
        position=position,
        item_id=line.item_id,
        service=service,
        name=line.name.strip(),
        current=current,
        asked=asked,
        quantity=count,
        fields=_said(ask.kind, line, position),
    )


def _said(kind: RequestKind, line: Line, position: int) -> dict[str, str]:
    """What a line says of the fields that each line may say. Raises Invalid naming the field and the line."""
    known = {one.name: one for one in kind.each}
    for name, said in line.fields.items():
        if name not in known:
            raise Invalid("request.field", N_("申请没有这个字段:%(name)s"), name=name, field=name)
        of = known[name]
        if not isinstance(said, str) or len(said) > LONGEST:
            raise Invalid(
                "request.field_long", N_("第 %(n)s 行的“%(name)s”须为不超过 %(most)s 字的文字"), n=position, name=of.label,
                most=LONGEST, field=name,
            )  # fmt: skip
        if of.choices is not None and said and said not in of.choices:
            raise Invalid("request.choice", N_("“%(name)s”没有这个选项"), name=of.label, field=name)
    return {name: said.strip() for name, said in line.fields.items() if said.strip()}


def _figures(what: Mapping[ClassCode, int], *, signed: bool = False) -> dict[str, int]:
    for kind, figure in what.items():
        label = CLASSES[CLASSES.known(kind)].label
        if isinstance(figure, bool) or not isinstance(figure, int) or (figure < 0 and not signed):
            raise Invalid(
                "amount.bad",
                N_("%(name)s的数量须为非负整数"),
                name=label,
                field=kind,
            )
    return {kind: figure for kind, figure in what.items() if figure}


def told(request: Request) -> dict[str, Any]:
    """What the requester says, for the audit trail."""
    return {
        "kind": request.kind,
        "department": request.department_id,
        "system": request.system_id,
        "pool": request.pool_id,
        "resource": request.resource_id,
        "justification": request.justification,
        "use_until": request.use_until,
        "extends": request.extends_id,
        "entry": request.entry_id,
        "fields": request.fields,
        "lines": _spelled(request.lines),
    }


def _spelled(lines: Iterable[RequestLine]) -> list[dict[str, Any]]:
    return [
        {
            "item": line.item_id,
            "service": line.service,
            "name": line.name,
            "current": line.current,
            "amounts": line.asked,
            "quantity": line.quantity,
            **({"fields": line.fields} if line.fields else {}),
        }
        for line in lines
    ]


def asked(request: Request) -> str:
    """Fingerprint of what signatures on ``request`` are about."""
    about: dict[str, Any] = {"pool": request.pool_id, "resource": request.resource_id, "lines": _spelled(request.lines)}
    kind = kind_of(request)
    if kind.lines is None and (kind.fields or request.fields):  # then they are what is asked for
        about["fields"] = request.fields
    if request.entry_id is not None:
        about |= {"entry": request.entry_id, "use_until": request.use_until}
    return fingerprint({**about, **kind.signed(request)})


def check_words(tx: Tx, request: Request) -> None:
    """Refuse words that cannot be judged: Invalid naming the field."""
    if len("".join(request.justification.split())) < MIN_JUSTIFICATION:
        raise Invalid(
            "request.justification",
            N_("请写明测算依据(至少 %(least)s 个字)"),
            least=MIN_JUSTIFICATION,
            field="justification",
        )
    if request.use_until is not None and request.use_until < tx.now.astimezone(ZONE).date():
        raise Invalid("request.use_until", N_("使用期限不能早于今天"), field="use_until")
    if request.system is not None and request.system.department_id != request.department_id:
        raise Invalid("request.system", N_("所选信息系统不属于本单位"), field="system_id")


def check_complete(tx: Tx, request: Request) -> None:
    """Refuse a request that is not ready to be judged: Invalid or Conflict naming the field. For a resource see ``targets``."""
    kind = formbook.form_of(tx, request)
    check_words(tx, request)
    _check_target(request, kind)
    for one in kind.fields:
        formbook.fits(one, request.fields.get(one.name))
        if one.required and not request.says(one.name):
            raise Invalid("request.field_missing", N_("请填写“%(name)s”"), name=one.label, field=one.name)
    there = facts.annexes(tx, request) if kind.annexes else None
    for annex in kind.annexes:
        if annex.required and there is not None and annex.label not in there:
            raise Invalid("request.annex_missing", N_("请提交附件“%(name)s”"), name=annex.label, field="annexes")
    if kind.lines is not None:
        _must_ask(request, kind)
    targets.check(tx, request)
    if kind.lines is not None:
        _check_lines(request, kind)
        tasks.check_parts(request)
    if kind.check is not None:
        kind.check(tx, request)
    if kind.lines is None and request.lines:
        raise Invalid("request.line", N_("“%(kind)s”不写资源数量"), kind=kind.label, field="lines")
    if kind.term is Term.REQUIRED and request.use_until is None:
        raise Invalid("request.use_until", N_("请填写使用期限"), field="use_until")


def drop_unasked(tx: Tx, request: Request) -> None:
    """Leave out of a draft what its form asks no more."""
    kind = formbook.form_of(tx, request)
    named, each = {one.name for one in kind.fields}, {one.name for one in kind.each}
    if not named.issuperset(request.fields):
        request.fields = {name: said for name, said in request.fields.items() if name in named}
    for line in request.lines:
        if not each.issuperset(line.fields):
            line.fields = {name: said for name, said in line.fields.items() if name in each}


def _check_target(request: Request, kind: RequestKind) -> None:
    """A request names what its kind is about, and nothing else."""
    if (kind.about is About.TERM) != (request.extends_id is not None):
        wrong = N_("“%(kind)s”须指明一份申请") if request.extends_id is None else N_("“%(kind)s”不指明另一份申请")
        raise Invalid("request.extends", wrong, kind=kind.label, field="use_until")
    if (kind.about is About.ENTRY) != (request.entry_id is not None):
        wrong = N_("“%(kind)s”须指明登记的事项") if request.entry_id is None else N_("“%(kind)s”不指明登记的事项")
        raise Invalid("request.entry", wrong, kind=kind.label, field="entry")
    if kind.about is not About.TERM and not request.pool.active:
        raise Invalid("request.pool", N_("资源池“%(name)s”已停用"), name=request.pool.name, field="pool_id")
    if (kind.about is About.RESOURCE) != (request.resource_id is not None):
        wrong = N_("“%(kind)s”须指明一个资源") if request.resource_id is None else N_("“%(kind)s”不指明资源")
        raise Invalid("request.resource", wrong, kind=kind.label, field="resource_id")


def _must_ask(request: Request, kind: RequestKind) -> None:
    """Refuse a request without lines, but for one about a resource as it stands that tells no amounts."""
    stands = kind.lines is not None and kind.lines.stands
    if not request.lines and not (stands and not _tells(request)):
        raise Invalid("request.empty", N_("请至少填写一项资源"), field="lines")


def _check_lines(request: Request, kind: RequestKind) -> None:
    for line in request.lines:
        wrong = _wrong(line, kind)
        if wrong:
            raise Invalid("request.line", wrong, kind=kind.label, field="lines")
        if line.item is not None and not (line.item.active and line.item.offered_on(Arch(request.pool.arch))):
            raise Invalid(
                "request.item",
                N_("资源池“%(pool)s”不提供“%(item)s”"),
                pool=request.pool.name,
                item=line.item.name,
                field="lines",
            )
    if request.lines and not request.takes() and not request.gives():
        raise Invalid("request.nothing", N_("申请没有改变任何数量"), field="lines")


def _tells(request: Request) -> bool:
    """Whether the resource that it is about tells what it has."""
    return request.resource is not None and bool(request.resource.amounts)


def _wrong(line: RequestLine, kind: RequestKind) -> str:
    """Why ``line`` is none of what the request kind has, as a sentence about ``kind``; empty where it is."""
    says = kind.lines
    if says is None:
        return N_("“%(kind)s”不写资源数量")
    if says.stands:
        if len(line.request.lines) != 1 or line.quantity != 1 or line.current or line.item_id is not None:
            return N_("“%(kind)s”一次只针对一个资源,按其现状登记")
    elif kind.moves:
        if len(line.request.lines) != 1 or line.quantity != 1 or line.current:
            return N_("“%(kind)s”一次只针对一个资源，只写新资源的规格")
    elif kind.about is About.RESOURCE:
        if len(line.request.lines) != 1 or line.quantity != 1 or not line.current:
            return N_("“%(kind)s”一次只针对一个资源,并须写明其现有规格")
    elif line.current:
        return N_("“%(kind)s”不写现有规格")
    if line.asked and not says.wanted:
        return N_("“%(kind)s”不写新规格")
    if says.wanted and not line.asked:
        return N_("请填写规格或数量")
    if (line.quantity != 1 and not says.pieces) or (line.item_id is not None and not says.items):
        return N_("“%(kind)s”按数量填写,不选目录规格")
    if says.service and line.service != says.service:
        return N_("“%(kind)s”只能选这一类服务的规格")
    return ""


def check_returnable(tx: Tx, request: Request, *, approved: bool = False) -> None:
    """Refuse to return what the department does not have, as asked or as ``approved``."""
    holder = kind_of(request).counts_as or Holder.USED
    for cls, amount in request.gives(approved=approved).items():
        have = ledger.balance(tx, Side(request.pool_id, cls, holder, request.department_id))
        if holder is Holder.GRANTED:  # what it borrowed is not its own to be given back to the city
            have = min(have, lending.own(tx, request.pool_id, cls, request.department_id))
        if have < amount:
            raise Invalid(
                "request.too_much_back",
                N_("要退回的%(kind)s超过了本单位现有的 %(have)s %(unit)s"),
                kind=CLASSES[cls.kind].label,
                have=shown(cls.kind, have),
                unit=CLASSES[cls.kind].shown,
                field="lines",
            )

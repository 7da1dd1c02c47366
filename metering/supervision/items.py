"""Items of supervision (监管事项): drafted and signed by two of the authority, in force from a day on until another version is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from metering.supervision import measures
from metering.supervision.measures import MEASURES, SupervisedObject
from metering.supervision.tables import PLACES, Answerer, SupervisionItem, SupervisionLevel, SupervisionSide
from quota import signed
from quota.calendar import ZONE
from quota.errors import N_, Invalid, NotFound, stated

if TYPE_CHECKING:
    from quota.db import Tx

MOST_ITEMS, MOST_HOLD_DAYS, MOST_REPLY_DAYS, LONGEST = 200, 366, 60, 2000
MOST_THRESHOLD = Decimal(10) ** 12
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
_OF_PARTY = {
    Answerer.TENANT: (SupervisedObject.DEPARTMENT, SupervisedObject.SYSTEM),
    Answerer.PROVIDER: (SupervisedObject.PROVIDER, SupervisedObject.POOL),
}
"""Who is told of what: of whose the object is."""


@dataclass(frozen=True, slots=True)
class SupervisionTerms:
    """What an item says, as ``SupervisionItem`` keeps it."""

    code: str
    name: str
    measure: str
    object_type: str
    side: str
    threshold: Decimal
    hold_days: int
    level: str
    answerer: str
    reply_days: int
    means: str = ""
    requirement: str = ""
    chosen: tuple[str, ...] = ()
    tells_authority: bool = False
    tells_department: bool = False
    tells_provider: bool = False


def item(tx: Tx, item_id: int) -> SupervisionItem:
    """A version of an item or a draft of one, or NotFound."""
    found = tx.get(SupervisionItem, item_id)
    if found is None:
        raise NotFound("supervision.no_item", N_("没有编号为 %(id)s 的监管事项"), id=item_id)
    return found


def in_force(tx: Tx, day: date) -> dict[str, SupervisionItem]:
    """Code → the version that is watched on ``day``."""
    query = select(SupervisionItem).where(
        SupervisionItem.enacted_at.is_not(None), SupervisionItem.effective_from <= day
    )
    order = (SupervisionItem.effective_from, SupervisionItem.enacted_at, SupervisionItem.id)
    newest = {one.code: one for one in tx.scalars(query.order_by(*order))}
    return {code: one for code, one in sorted(newest.items()) if not one.stops}


# --------------------------------------------------------------------------------------------------------------- verbs


def draft(tx: Tx, terms: SupervisionTerms, effective_from: date, reason: str) -> SupervisionItem:
    """Propose an item, or another version of one. The authority's; who drafts has signed. Raises Invalid for what makes no sense, naming
    its field."""
    said = signed.drafted(tx, reason)
    return _drafted(tx, _checked(tx, terms), effective_from, said)


def draft_end(tx: Tx, item_id: int, effective_from: date, reason: str) -> SupervisionItem:
    """Propose that an item is watched no more from a day on. Raises Invalid where it is not in force."""
    said, standing = signed.drafted(tx, reason), item(tx, item_id)
    if standing.id not in {one.id for one in in_force(tx, _today(tx)).values()}:
        raise Invalid("supervision.not_in_force", N_("该版本未在施行，不能停止"))
    names = SupervisionTerms.__dataclass_fields__
    return _drafted(tx, {name: getattr(standing, name) for name in names}, effective_from, said, stops=True)


def sign(tx: Tx, item_id: int) -> SupervisionItem:
    """Sign a draft; the second signature enacts it. Raises as ``signed.sign`` does, Invalid where its day is over or too many are watched."""
    row = item(tx, item_id)
    tx.alone("supervision items")
    if signed.sign(tx, row, "supervision_item"):
        _not_past(tx, row.effective_from)
        watched = set(in_force(tx, max(row.effective_from, _today(tx)))) - ({row.code} if row.stops else set())
        if len(watched) > MOST_ITEMS:
            raise Invalid("supervision.many", N_("监管事项不能超过 %(most)s 项"), most=MOST_ITEMS)
        tx.audit("supervision_item.enact", row.subject, after={"code": row.code, "effective_from": row.effective_from})
    return row


def withdraw(tx: Tx, item_id: int) -> SupervisionItem:
    """Give a draft up."""
    row = item(tx, item_id)
    signed.withdraw(tx, row, "supervision_item")
    return row


# ----------------------------------------------------------------------------------------------------------- mechanism


def _today(tx: Tx) -> date:
    return tx.now.astimezone(ZONE).date()


def _not_past(tx: Tx, day: date) -> None:
    if day < _today(tx):
        raise Invalid("supervision.past", N_("施行日期不能早于今天"), field="effective_from")


def _drafted(
    tx: Tx, terms: dict[str, Any], effective_from: date, said: dict[str, Any], *, stops: bool = False
) -> SupervisionItem:
    _not_past(tx, effective_from)
    row = SupervisionItem(
        **{**terms, "chosen": list(terms["chosen"])}, effective_from=effective_from, stops=stops, **said
    )
    tx.add(row)
    tx.flush()
    after = {**terms, "threshold": str(row.threshold), "effective_from": effective_from, "stops": stops}
    tx.audit("supervision_item.draft", row.subject, after=after, reason=row.reason)
    return row


def _checked(tx: Tx, terms: SupervisionTerms) -> dict[str, Any]:
    """As columns. Raises Invalid naming the field that makes no sense."""
    told = {
        **asdict(terms),
        "name": terms.name.strip(),
        "means": terms.means.strip(),
        "requirement": terms.requirement.strip(),
    }
    if not _CODE.fullmatch(terms.code):
        raise Invalid("supervision.code", N_("编码为 1 至 32 位字母、数字、点、横线或下划线"), field="code")
    stated(told["name"], "name", code="supervision.name", message=N_("请填写名称"))
    if len(told["name"]) > 128 or max(len(told["means"]), len(told["requirement"])) > LONGEST:
        raise Invalid("supervision.long", N_("名称不超过 128 字，方式和要求不超过 2000 字"), field="name")
    measure = MEASURES.get(terms.measure)
    if measure is None:
        raise Invalid("supervision.measure", N_("没有这项监测指标"), field="measure")
    of = next((one for one in measure.objects if one == terms.object_type), None)
    if of is None:
        raise Invalid(
            "supervision.object", N_("“%(measure)s”不能按所选对象监测"), measure=measure.label, field="object_type"
        )
    for value, known, name in (
        (terms.side, SupervisionSide, "side"), (terms.level, SupervisionLevel, "level"), (terms.answerer, Answerer, "answerer"),
    ):  # fmt: skip
        if value not in set(known):
            raise Invalid("supervision.choice", N_("请从列出的选项中选择"), field=name)
    if (
        not terms.threshold.is_finite()
        or abs(terms.threshold) > MOST_THRESHOLD
        or terms.threshold != round(terms.threshold, PLACES)
    ):
        raise Invalid("supervision.limit", N_("限值须为不超过四位小数的数"), field="threshold")
    if not 0 <= terms.hold_days <= MOST_HOLD_DAYS:
        raise Invalid("supervision.hold", N_("持续天数须为 0 至 %(most)s"), most=MOST_HOLD_DAYS, field="hold_days")
    if not 1 <= terms.reply_days <= MOST_REPLY_DAYS:
        raise Invalid(
            "supervision.reply", N_("答复期限须为 1 至 %(most)s 个工作日"), most=MOST_REPLY_DAYS, field="reply_days"
        )
    told["chosen"] = _chosen(tx, of, terms.chosen)
    return told | _told(terms, of)


def _told(terms: SupervisionTerms, of: SupervisedObject) -> dict[str, bool]:
    """Whom it tells: whoever has to answer, too. Raises Invalid for a party whose the object is not."""
    tells = {
        Answerer.AUTHORITY: terms.tells_authority,
        Answerer.TENANT: terms.tells_department,
        Answerer.PROVIDER: terms.tells_provider,
    }
    for party, asked in tells.items():
        tells[party] = asked or party == terms.answerer
        if tells[party] and of not in _OF_PARTY.get(party, (of,)):
            field = (
                "answerer"
                if party == terms.answerer
                else f"tells_{'department' if party is Answerer.TENANT else 'provider'}"
            )
            raise Invalid("supervision.party", N_("所选对象不属于某个使用单位或云服务商，不能告知它"), field=field)
    return {
        "tells_authority": tells[Answerer.AUTHORITY], "tells_department": tells[Answerer.TENANT], "tells_provider": tells[Answerer.PROVIDER],
    }  # fmt: skip


def _chosen(tx: Tx, of: SupervisedObject, codes: Sequence[str]) -> list[str]:
    """Codes of objects, each once. Raises Invalid naming one that is not there."""
    if codes and of is SupervisedObject.CITY:
        raise Invalid("supervision.chosen", N_("按全市监测的不再选择对象"), field="chosen")
    known = set(measures.objects(tx, of).values()) if codes else set()
    for code in codes:
        if code not in known:
            raise Invalid("supervision.no_object", N_("没有编码为“%(code)s”的监测对象"), code=code[:40], field="chosen")
    return sorted(set(codes))

"""What whoever decides may say otherwise than the applicant, where the rule of his step lets him: the shape of a line, the purpose, the
network zone. Never more than was asked for: that is held, and another shape asks for no more of anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quota.directory import CatalogItem, catalog
from quota.errors import N_, Invalid
from quota.requests.declarations import PURPOSE, RequestField
from quota.requests.formbook.enactment import form_of
from quota.requests.formbook.versions import fits
from quota.requests.rules import REPLACE_LABELS
from quota.units import Arch

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.requests.tables import Request, RequestLine, RequestStep

SHAPE, ZONE = "shape", "zone"
LONGEST = 500


@dataclass(frozen=True, slots=True)
class Replacement:
    """``shapes``: line id → catalogue item in place of what was asked for; ``fields``: purpose and zone, for all lines."""

    shapes: Mapping[int, int] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.shapes or self.fields)


def replaceable(tx: Tx, request: Request, step: RequestStep) -> dict[str, RequestField]:
    """The fields that ``step`` may say otherwise, of those that the request's form has."""
    may = {one for one in step.replaces if one in (PURPOSE, ZONE)}
    return {one.name: one for one in form_of(tx, request).fields if one.name in may}


def shapes_for(tx: Tx, line: RequestLine) -> list[CatalogItem]:
    """The items that may stand in place of what ``line`` asks for."""
    return [one for one in catalog.offered(tx) if not _wrong(line, one)]


def replace(tx: Tx, request: Request, step: RequestStep, wanted: Replacement) -> bool:
    """Write what is approved otherwise than asked for; whether anything is. Raises Invalid naming what the step may not replace, or what
    does not fit."""
    fields = replaceable(tx, request, step)
    for name, said in wanted.fields.items():
        if name not in fields:
            what = REPLACE_LABELS.get(name, name)
            raise Invalid("approve.replace", N_("这个步骤不能更改“%(what)s”"), what=what, field=f"replace-{name}")
        if not said.strip() or len(said) > LONGEST:
            raise Invalid(
                "approve.replace_text", N_("须为 1 至 %(most)s 个字符"), most=LONGEST, field=f"replace-{name}"
            )
        fits(fields[name], said)
    if wanted.shapes and SHAPE not in step.replaces:
        raise Invalid("approve.replace", N_("这个步骤不能更改“%(what)s”"), what=REPLACE_LABELS[SHAPE], field="shape")
    changed = False
    for name, said in wanted.fields.items():
        if request.fields.get(name) != said.strip() or any(name in line.fields for line in request.lines):
            changed = True
            request.fields = {**request.fields, name: said.strip()}
            for line in request.lines:
                line.fields = {key: value for key, value in line.fields.items() if key != name}
    lines = {line.id: line for line in request.lines}
    for line_id, item_id in wanted.shapes.items():
        changed |= _reshape(lines.get(line_id), catalog.item(tx, item_id))
    return changed


def reshaped(line: RequestLine, item: CatalogItem) -> dict[str, int]:
    """What a piece of ``line`` has as ``item``."""
    return {**line.current, **{str(code): figure for code, figure in item.takes().items()}}


def _reshape(line: RequestLine | None, item: CatalogItem) -> bool:
    if line is None:
        raise Invalid("approve.line", N_("这份申请没有这一项"), field="lines")
    if line.granted_item is item:
        return False
    wrong = _wrong(line, item)
    if wrong:
        raise Invalid("approve.shape_fits", wrong, item=item.name, n=line.position, field=f"shape-{line.id}")
    line.approved = reshaped(line, item)
    line.approved_item_id, line.approved_item = item.id, item
    return True


def _wrong(line: RequestLine, item: CatalogItem) -> str:
    """Why ``item`` cannot stand in place of what ``line`` asks for; empty where it can."""
    if not line.asked or (line.item is not None and (line.item.fits or line.item.by_amount)):
        return N_("第 %(n)s 行的规格不能更改")
    if not item.active or item.fits or item.by_amount or not item.offered_on(Arch(line.request.pool.arch)):
        return N_("资源池不提供“%(item)s”")
    if item.service != line.service:
        return N_("“%(item)s”与第 %(n)s 行不是同一种服务")
    shape = reshaped(line, item)
    for code in {*shape, *line.asked, *line.current}:
        low, high = sorted((line.current.get(code, 0), line.asked.get(code, 0)))
        if not low <= shape.get(code, 0) <= high:
            return N_("“%(item)s”超出第 %(n)s 行的申请量")
    return ""

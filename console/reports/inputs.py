"""An edition's inputs as its contents ask for them: units that people read, names of what has none, changes in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from console.reports.documents import Cell, Say
from quota.errors import N_


class Inputs:
    """``say``: in whose language."""

    def __init__(self, document: Mapping[str, Any], say: Say, zone: ZoneInfo) -> None:
        self.of, self.say, self.zone = document, say, zone
        self.classes: Mapping[str, Mapping[str, Any]] = {one["code"]: one for one in document["classes"]}

    def __getitem__(self, name: str) -> Any:
        return self.of[name]

    @property
    def kind(self) -> str:
        return str(self.of["scope"]["kind"])

    def amount(self, code: str, base: int | None) -> Cell:
        """Base units in the unit that people read, by the classes as they were."""
        if base is None:
            return None
        factor = int(self.classes.get(code, {}).get("factor", 1))
        return base if factor == 1 else base // factor if base % factor == 0 else round(base / factor, 1)

    def unit(self, code: str) -> str:
        unit = str(self.classes.get(code, {}).get("unit", ""))
        return self.say(unit) if unit else ""

    def label(self, code: str) -> str:
        return self.say(str(self.classes.get(code, {}).get("label", code)))

    def named(self, labels: Mapping[Any, str], code: str) -> str:
        """The word for a code; a code that is not known any more stays as it is."""
        found = next((label for key, label in labels.items() if str(key) == code), None)
        return self.say(found) if found is not None else code

    def moment(self, text: str) -> str:
        return f"{datetime.fromisoformat(text).astimezone(self.zone):%Y-%m-%d %H:%M:%S}"

    def day(self, text: str | None) -> str | None:
        return None if text is None else date.fromisoformat(text).isoformat()


def yuan(fen: int | None) -> Decimal | None:
    return None if fen is None else Decimal(fen).scaleb(-2)


def added(figures: Any) -> int | None:
    """The sum of what is known; None where nothing is."""
    known = [one for one in figures if one is not None]
    return sum(known) if known else None


def moved(say: Say, now: float | None, before: float | None, *, points: bool = False) -> str:
    """How a figure moved: “增加12(3.4%)”, “下降1.2个百分点”, “持平”; what is not known is said."""
    if now is None or before is None:
        return say(N_("无可比数据"))
    by = now - before
    if abs(by) < 0.05 if points else by == 0:
        return say(N_("持平"))
    if points:
        text = f"{abs(by):.1f}"
        return say(N_("上升%(by)s个百分点"), by=text) if by > 0 else say(N_("下降%(by)s个百分点"), by=text)
    text = f"{abs(by):,.2f}".rstrip("0").rstrip(".")
    if not before:
        return say(N_("增加%(by)s"), by=text) if by > 0 else say(N_("减少%(by)s"), by=text)
    share = f"{abs(100 * by / before):.1f}%"
    if by > 0:
        return say(N_("增加%(by)s（%(share)s）"), by=text, share=share)
    return say(N_("减少%(by)s（%(share)s）"), by=text, share=share)

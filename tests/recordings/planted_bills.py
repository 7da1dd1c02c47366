"""A bill as a company exports it, with differences planted into it: what each costs is reckoned here, by nothing of the product.

Prices are 0.10 yuan a core-hour and 0.05 yuan a GiB-hour, April 2026 has 720 hours. A difference is told as resource, kind,
cause → (unit-hours as the book counts them, fen), above zero where too much is billed.
"""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

HOURS = 720
FIRST = datetime(2026, 4, 1)  # noqa: DTZ001 - the city's time, as bills write it
FEN = {"vcpu": Decimal(10), "memory": Decimal(5)}
"""Fen for a core or a GiB over an hour."""
BASE = {"vcpu": Decimal(1), "memory": Decimal(1024)}
"""What the book counts memory in: MiB."""
WORDS = {"vcpu": ("CPU", "核·时"), "memory": ("内存", "GiB·时")}
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Machine:
    """There from hour ``since`` to hour ``until`` of the month, with so many cores and GiB."""

    name: str
    vcpu: int
    memory: int
    since: int = 0
    until: int = HOURS


@dataclass
class Line:
    name: str
    kind: str
    first: int
    last: int
    quantity: Decimal
    cost: Decimal | None = None  # yuan; None: by the price

    def money(self) -> Decimal:
        return self.quantity * FEN[self.kind] / 100 if self.cost is None else self.cost


@dataclass
class PlantedBill:
    lines: list[Line] = field(default_factory=list)
    planted: list[str] = field(default_factory=list)
    """What was planted, in order; some with two causes on one line."""
    found: dict[Key, tuple[Decimal, int]] = field(default_factory=dict)
    """What a comparison is to find."""

    def differ(self, name: str, kind: str, cause: str, quantity: Decimal) -> None:
        fen = (quantity * FEN[kind]).quantize(Decimal(1), ROUND_HALF_UP)
        self.found[name, kind, cause] = quantity * BASE[kind], int(fen)

    def text(self) -> str:
        """The file."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["账期", "资源编号", "计费项", "单位", "开始时间", "结束时间", "用量", "费用"])
        for line in self.lines:
            word, unit = WORDS[line.kind]
            since, until = (FIRST + timedelta(hours=hour) for hour in (line.first, line.last))
            writer.writerow(
                ["2026-04", line.name, word, unit, f"{since:%Y-%m-%d %H:%M:%S}", f"{until:%Y-%m-%d %H:%M:%S}",
                 f"{line.quantity:.6f}", f"{line.money():.6f}"]
            )  # fmt: skip
        return out.getvalue()


def planted(machines: list[Machine], elsewhere: list[Machine], seed: int, number: int) -> PlantedBill:
    """A bill of ``machines`` with ``number`` differences; ``elsewhere``: machines that another pool has."""
    chance = random.Random(seed)
    bill = PlantedBill()
    right = {
        (one.name, kind): Line(
            one.name, kind, one.since, one.until, Decimal(getattr(one, kind) * (one.until - one.since))
        )
        for one in machines
        for kind in WORDS
    }
    by_name = {one.name: one for one in machines}
    free = sorted(right)
    chance.shuffle(free)
    strangers = [(one, kind) for one in elsewhere for kind in WORDS]
    chance.shuffle(strangers)
    more = chance.choices(WAYS, k=max(0, number - len(WAYS)))
    for way in [*WAYS, *more][:number]:
        bill.planted.append(way.__name__)
        if way is of_another_pool and strangers:
            one, kind = strangers.pop()
            way(bill, one, kind, None, chance)
            continue
        way = unknown if way is of_another_pool else way
        key = next(key for key in free if _fits(way, by_name[key[0]]))
        free.remove(key)
        way(bill, by_name[key[0]], key[1], right[key], chance)
        if way not in (not_billed, unknown):
            bill.lines.append(right.pop(key))
    left_out = {key for key in right if (key[0], key[1], "not_billed") in bill.found}
    bill.lines += [line for key, line in right.items() if key not in left_out]
    for line in chance.sample([line for line in bill.lines if line.cost is None], 15):  # what a company rounds is none
        line.cost = line.money()
        line.quantity += Decimal(chance.choice((-4, 4))) / 1000 / BASE[line.kind]
    chance.shuffle(bill.lines)
    return bill


def _fits(way: object, one: Machine) -> bool:
    """Whether a bill can be wrong about ``one`` in this way."""
    return (way is not before_creation or one.since > 0) and (way is not after_deletion or one.until < HOURS)


def unknown(bill: PlantedBill, one: Machine, kind: str, _line: Line | None, chance: random.Random) -> None:
    """A machine that nobody has."""
    name, hours = f"ghost-{one.name}-{kind}", chance.randrange(50, HOURS)
    quantity = Decimal(chance.choice((1, 2, 4)) * hours)
    bill.lines.append(Line(name, kind, 0, hours, quantity))
    bill.differ(name, kind, "not_in_inventory", quantity)


def of_another_pool(bill: PlantedBill, one: Machine, kind: str, _line: Line | None, _chance: random.Random) -> None:
    quantity = Decimal(getattr(one, kind) * HOURS)
    bill.lines.append(Line(one.name, kind, 0, HOURS, quantity))
    bill.differ(one.name, kind, "other_pool", quantity)


def before_creation(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    assert line is not None
    early = chance.randrange(10, one.since)
    line.first -= early
    line.quantity += getattr(one, kind) * early
    bill.differ(one.name, kind, "before_creation", Decimal(getattr(one, kind) * early))


def after_deletion(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    assert line is not None
    late = chance.randrange(10, HOURS - one.until)
    line.last += late
    line.quantity += getattr(one, kind) * late
    bill.differ(one.name, kind, "after_deletion", Decimal(getattr(one, kind) * late))


def larger_shape(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    assert line is not None
    more = chance.choice((1, 2, 3)) * (line.last - line.first)
    line.quantity += more
    bill.differ(one.name, kind, "larger_shape", Decimal(more))


def smaller_shape(bill: PlantedBill, one: Machine, kind: str, line: Line | None, _chance: random.Random) -> None:
    assert line is not None
    less = Decimal(line.last - line.first) / 2
    line.quantity -= less
    bill.differ(one.name, kind, "smaller_shape", -less)


def wrong_unit(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    """MB for GB, days for hours, and the other way round."""
    assert line is not None
    was = line.quantity
    slip = chance.choice((Decimal(1024), 1 / Decimal(1024), Decimal(1000), 1 / Decimal(24), Decimal(3600)))
    line.quantity = (was * slip).quantize(Decimal("0.000001"))
    bill.differ(one.name, kind, "wrong_unit", line.quantity - was)


def billed_twice(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    assert line is not None
    first = chance.randrange(line.first + 1, line.last - 100)
    last = first + chance.randrange(5, 90)
    again = Decimal(getattr(one, kind) * (last - first))
    bill.lines.append(Line(one.name, kind, first, last, again))
    bill.differ(one.name, kind, "billed_twice", again)


def not_billed(bill: PlantedBill, one: Machine, kind: str, line: Line | None, _chance: random.Random) -> None:
    assert line is not None
    bill.differ(one.name, kind, "not_billed", -line.quantity)


def part_not_billed(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    """The end of the machine's time is missing."""
    assert line is not None
    short = chance.randrange(24, 200)
    line.last -= short
    line.quantity -= getattr(one, kind) * short
    bill.differ(one.name, kind, "not_billed", -Decimal(getattr(one, kind) * short))


def dearer(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    assert line is not None
    _priced(bill, one, kind, line, Decimal(chance.choice((105, 110, 150))) / 100)


def in_another_currency(bill: PlantedBill, one: Machine, kind: str, line: Line | None, _chance: random.Random) -> None:
    assert line is not None
    _priced(bill, one, kind, line, Decimal("0.14"))


def in_fen(bill: PlantedBill, one: Machine, kind: str, line: Line | None, _chance: random.Random) -> None:
    assert line is not None
    _priced(bill, one, kind, line, Decimal(100))


def larger_and_dearer(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    """Two causes on one line."""
    larger_shape(bill, one, kind, line, chance)
    dearer(bill, one, kind, line, chance)


def _priced(bill: PlantedBill, one: Machine, kind: str, line: Line, times: Decimal) -> None:
    right = line.quantity * FEN[kind]
    line.cost = (right * times).quantize(Decimal(1), ROUND_HALF_UP) / 100
    bill.found[one.name, kind, "price"] = Decimal(0), int(line.cost * 100 - right)


WAYS = [
    unknown, of_another_pool, before_creation, after_deletion, larger_shape, smaller_shape, wrong_unit, billed_twice,
    not_billed, part_not_billed, dearer, in_another_currency, in_fen, larger_and_dearer,
]  # fmt: skip
"""Ways in which a bill is wrong, each at least once of so many as there are."""

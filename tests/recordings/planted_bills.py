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
OWNER, ANOTHER = "d1", "d2"
"""The department that all machines are of, and one that has none, by their codes."""
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
    currency: str = "CNY"
    payer: str = OWNER

    def money(self) -> Decimal:
        return self.quantity * FEN[self.kind] / 100 if self.cost is None else self.cost

    def yuan(self) -> Decimal:
        """What it comes to: in another currency, what it would by the price."""
        return self.money() if self.currency == "CNY" else self.quantity * FEN[self.kind] / 100


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
        writer.writerow(
            ["账期", "资源编号", "计费项", "单位", "开始时间", "结束时间", "用量", "费用", "币种", "使用单位"]
        )
        for line in self.lines:
            word, unit = WORDS[line.kind]
            since, until = (FIRST + timedelta(hours=hour) for hour in (line.first, line.last))
            writer.writerow(
                ["2026-04", line.name, word, unit, f"{since:%Y-%m-%d %H:%M:%S}", f"{until:%Y-%m-%d %H:%M:%S}",
                 f"{line.quantity:.6f}", f"{line.money():.6f}", line.currency, line.payer]
            )  # fmt: skip
        return out.getvalue()


def planted(
    machines: list[Machine], elsewhere: list[Machine], wild: list[Machine], seed: int, number: int
) -> PlantedBill:
    """A bill of ``machines`` with ``number`` differences; ``elsewhere``: machines that another pool has; ``wild``: of this pool, and
    nobody approved them."""
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
    unapproved = [(one, kind) for one in wild for kind in WORDS]
    chance.shuffle(unapproved)
    more = chance.choices(WAYS, k=max(0, number - len(WAYS)))
    for way in [*WAYS, *more][:number]:
        bill.planted.append(way.__name__)
        if way is of_another_pool and strangers:
            one, kind = strangers.pop()
            way(bill, one, kind, None, chance)
            continue
        if way in (never_approved, never_approved_and_larger) and unapproved:
            one, kind = unapproved.pop()
            line = Line(one.name, kind, 0, HOURS, Decimal(getattr(one, kind) * HOURS))
            way(bill, one, kind, line, chance)
            bill.lines.append(line)
            continue
        way = unknown if way in (of_another_pool, never_approved, never_approved_and_larger) else way
        key = next(key for key in free if _fits(way, by_name[key[0]]))
        free.remove(key)
        way(bill, by_name[key[0]], key[1], right[key], chance)
        if way not in (not_billed, unknown):
            bill.lines.append(right.pop(key))
    left_out = {key for key in right if (key[0], key[1], "not_billed") in bill.found}
    bill.lines += [line for key, line in right.items() if key not in left_out]
    for line in chance.sample(
        [line for line in bill.lines if line.cost is None and line.currency == "CNY"], 15
    ):  # what a company rounds is none
        line.cost = line.money()
        line.quantity += Decimal(chance.choice((-4, 4))) / 1000 / BASE[line.kind]
    chance.shuffle(bill.lines)
    return bill


def _fits(way: object, one: Machine) -> bool:
    """Whether a bill can be wrong about ``one`` in this way."""
    early = (before_creation, before_creation_and_dearer)
    return (way not in early or one.since > 0) and (way is not after_deletion or one.until < HOURS)


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


def rounded_up(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    """A cent more, or less, than the price makes."""
    assert line is not None
    cents = chance.choice((-1, 1))
    line.cost = line.quantity * FEN[kind] / 100 + Decimal(cents) / 100
    bill.found[one.name, kind, "rounded"] = Decimal(0), cents


def marked_as_another_currency(
    bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random
) -> None:
    """All that no other cause has of it."""
    assert line is not None
    right = line.quantity * FEN[kind]
    line.currency, line.cost = chance.choice(("USD", "HKD", "EUR")), (right / 7).quantize(Decimal(1)) / 100
    bill.found[one.name, kind, "currency"] = Decimal(0), int(right) - _disputed(bill, one, kind)


def to_another_department(
    bill: PlantedBill, one: Machine, kind: str, line: Line | None, _chance: random.Random
) -> None:
    assert line is not None
    line.payer = ANOTHER
    fen = int(line.money() * 100)
    bill.found[one.name, kind, "wrong_payer"] = Decimal(0), fen - _disputed(bill, one, kind)


def never_approved(bill: PlantedBill, one: Machine, kind: str, line: Line | None, _chance: random.Random) -> None:
    assert line is not None
    fen = int(line.money() * 100) - _disputed(bill, one, kind)
    bill.found[one.name, kind, "unapproved"] = Decimal(getattr(one, kind) * HOURS) * BASE[kind], fen


def _disputed(bill: PlantedBill, one: Machine, kind: str) -> int:
    """Fen too much that are planted on this line already."""
    return sum(
        max(0, fen) for (name, of, _cause), (_hours, fen) in bill.found.items() if (name, of) == (one.name, kind)
    )


def larger_and_currency(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    larger_shape(bill, one, kind, line, chance)
    marked_as_another_currency(bill, one, kind, line, chance)


def larger_and_payer(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    larger_shape(bill, one, kind, line, chance)
    to_another_department(bill, one, kind, line, chance)


def dearer_and_payer(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    dearer(bill, one, kind, line, chance)
    to_another_department(bill, one, kind, line, chance)


def before_creation_and_dearer(
    bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random
) -> None:
    before_creation(bill, one, kind, line, chance)
    dearer(bill, one, kind, line, chance)


def smaller_and_rounded(bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random) -> None:
    smaller_shape(bill, one, kind, line, chance)
    rounded_up(bill, one, kind, line, chance)


def never_approved_and_larger(
    bill: PlantedBill, one: Machine, kind: str, line: Line | None, chance: random.Random
) -> None:
    larger_shape(bill, one, kind, line, chance)
    never_approved(bill, one, kind, line, chance)


def _priced(bill: PlantedBill, one: Machine, kind: str, line: Line, times: Decimal) -> None:
    right = line.quantity * FEN[kind]
    line.cost = (right * times).quantize(Decimal(1), ROUND_HALF_UP) / 100
    bill.found[one.name, kind, "price"] = Decimal(0), int(line.cost * 100 - right)


WAYS = [
    unknown, of_another_pool, before_creation, after_deletion, larger_shape, smaller_shape, wrong_unit, billed_twice,
    not_billed, part_not_billed, dearer, in_another_currency, in_fen, larger_and_dearer,
    rounded_up, marked_as_another_currency, to_another_department, never_approved, larger_and_currency, larger_and_payer,
    dearer_and_payer, before_creation_and_dearer, smaller_and_rounded, never_approved_and_larger,
]  # fmt: skip
"""Ways in which a bill is wrong, each at least once of so many as there are."""

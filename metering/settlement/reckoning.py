"""What of an amount is payable now: acceptance and assessment take their shares, a part is retained, the ceiling holds.

Pure: integers of fen and shares in per cent. What is withheld at each step is a line of its own, so that what was claimed is always
the sum of what is payable and of what is withheld.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any

from quota.errors import N_

HUNDRED = Decimal(100)


class Withholding(StrEnum):
    """Why something is withheld, in the order in which it is."""

    ACCEPTANCE = "acceptance"
    UNRATED = "unrated"
    GRADE = "grade"
    INCIDENTS = "incidents"
    CEILING = "ceiling"
    RETENTION = "retention"


LINE_LABELS = {
    "month": N_("月结金额"),
    "labour": N_("人工服务"),
    "instalment": N_("分期款"),
    "retained": N_("已扣留质保金"),
    Withholding.ACCEPTANCE.value: N_("验收系数扣减"),
    Withholding.UNRATED.value: N_("考核评分尚未公示，暂不支付"),
    Withholding.GRADE.value: N_("考核等次扣减"),
    Withholding.INCIDENTS.value: N_("质保期内发生重大故障，暂不返还"),
    Withholding.CEILING.value: N_("超出合同上限"),
    Withholding.RETENTION.value: N_("质保金"),
}
"""Code of a line → what it is called. Codes stand in sheets: they are permanent."""


@dataclass(frozen=True, slots=True)
class SettlementLine:
    """One line: what is claimed (``what``: its month, or day) or withheld; ``refs`` name what it rests on."""

    code: str
    fen: int
    what: str = ""
    refs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "fen": self.fen, "what": self.what, "refs": list(self.refs)}


@dataclass(frozen=True, slots=True)
class Reckoned:
    """``claimed`` and ``withheld`` line by line; ``payable`` is the difference of their sums."""

    claimed: tuple[SettlementLine, ...]
    withheld: tuple[SettlementLine, ...]

    @property
    def gross(self) -> int:
        return sum(line.fen for line in self.claimed)

    @property
    def kept_back(self) -> int:
        return sum(line.fen for line in self.withheld)

    @property
    def payable(self) -> int:
        return self.gross - self.kept_back

    @property
    def retained(self) -> int:
        """What is kept back until the end, and owed then."""
        return sum(line.fen for line in self.withheld if line.code == Withholding.RETENTION)


def reckon(
    claimed: Sequence[SettlementLine],
    *,
    acceptance: Decimal,
    paid: Decimal | None,
    retention: Decimal,
    room: int,
    card: str = "",
) -> Reckoned:
    """``acceptance``, ``paid`` (by the published card; None: there is none) and ``retention`` in per cent, one after the other of
    what the one before left; ``room``: what the contract's ceiling still leaves, retained parts included. Of a credit nothing is
    withheld."""
    left = sum(line.fen for line in claimed)
    withheld: list[SettlementLine] = []

    def keep(code: Withholding, fen: int, *refs: str) -> int:
        if fen > 0:
            withheld.append(SettlementLine(code.value, fen, refs=refs))
        return max(0, fen)

    if left <= 0:
        return Reckoned(tuple(claimed), ())
    left -= keep(Withholding.ACCEPTANCE, left - share(left, acceptance))
    if paid is None:
        left -= keep(Withholding.UNRATED, left)
    else:
        left -= keep(Withholding.GRADE, left - share(left, paid), card)
    left -= keep(Withholding.CEILING, left - max(0, room))
    keep(Withholding.RETENTION, share(left, retention))
    return Reckoned(tuple(claimed), tuple(withheld))


def share(fen: int, per_cent: Decimal) -> int:
    """Half up."""
    return int((fen * per_cent / HUNDRED).quantize(Decimal(1), ROUND_HALF_UP))

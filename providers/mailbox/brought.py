"""What a cloud tells beside its listing and its samples, as an agent brings it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from providers.base import BillFact, CloudCapacity, IncidentFact, ProjectQuota
from quota.errors import N_, Invalid

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class CapacityBrought:
    """What the cloud has room for."""

    as_of: datetime
    classes: list[CloudCapacity]


@dataclass(frozen=True, slots=True)
class QuotasBrought:
    """What every project may have."""

    as_of: datetime
    projects: list[ProjectQuota]


@dataclass(frozen=True, slots=True)
class BillBrought:
    """The company's bill of the city's ``month`` (2026-10); without lines where it has handed none over yet."""

    as_of: datetime
    month: str
    lines: list[BillFact]


@dataclass(frozen=True, slots=True)
class IncidentsBrought:
    """The company's incident reports of since <= t < as_of."""

    as_of: datetime
    since: datetime
    incidents: list[IncidentFact]


Brought = CapacityBrought | QuotasBrought | BillBrought | IncidentsBrought


def place(brought: Brought) -> str:
    """The name under which it is kept. Raises Invalid for a month that is none."""
    if isinstance(brought, BillBrought):
        return bill_place(brought.month)
    return {CapacityBrought: "capacity", QuotasBrought: "quotas", IncidentsBrought: "incidents"}[type(brought)]


def bill_place(month: str) -> str:
    """The same of the bill of a month."""
    if not _MONTH.fullmatch(month):
        raise Invalid("month.bad", N_("%(month)s 不是月份"), month=month[:40], field="month")
    return f"bill-{month}"

"""What a change of shape frees, needs and counts for. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from quota.units import (
    ACCELERATOR,
    BANDWIDTH,
    BLOCK,
    CRYPTOGRAPHY,
    DATABASE,
    EIP,
    MEMORY,
    MIDDLEWARE,
    OBJECT,
    SECURITY,
    VCPU,
    Amount,
    ClassCode,
)

WORTH: Mapping[ClassCode, float] = {
    VCPU: 1.0,
    MEMORY: 0.25 / 1024,
    BLOCK: 0.005,
    OBJECT: 0.001,
    BANDWIDTH: 0.1,
    EIP: 0.5,
    DATABASE: 2.0,
    MIDDLEWARE: 2.0,
    SECURITY: 1.0,
    CRYPTOGRAPHY: 2.0,
    ACCELERATOR: 20.0,
}
"""Our own default: what one base unit counts for when cases are ranked, in vCPU (4 GB of memory = 1);
classes that people added count for nothing there."""


def worth(what: Amount) -> float:
    """What recovering (or giving) ``what`` counts for, in vCPU."""
    return round(sum(WORTH.get(kind, 0.0) * figure for kind, figure in what.items()), 4)


def less(shape: Amount, target: Amount) -> Amount:
    """What a shrink from ``shape`` to ``target`` frees, kind by kind; a kind that ``target`` leaves out stays."""
    return shape.over(shape | target)


def more(shape: Amount, target: Amount) -> Amount:
    """What an expansion from ``shape`` to ``target`` needs beyond ``shape``."""
    return target.over(shape)


def gentler(shape: Amount, noticed: Amount, fresh: Amount | None) -> Amount:
    """The target of a shrink after it was judged again: never below what the department was told, never below what
    the fresh judgement holds safe, never above the present ``shape``. No fresh target: nothing may shrink."""
    if fresh is None:
        return shape
    return shape.within({kind: max(noticed.get(kind, n), fresh.get(kind, n)) for kind, n in shape.items()})


def growth(shape: Amount, target: Amount) -> float:
    """The largest relative growth over the kinds: 0.25 = a quarter more, inf = of something it had none of."""
    ratios = (figure / shape[kind] if shape.get(kind) else float("inf") for kind, figure in more(shape, target).items())
    return max(ratios, default=0.0)

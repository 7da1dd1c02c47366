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
    Amounts,
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


def worth(what: Amounts) -> float:
    """What recovering (or giving) ``what`` counts for, in vCPU."""
    return round(sum(WORTH.get(kind, 0.0) * figure for kind, figure in what.items()), 4)


def less(shape: Amounts, target: Amounts) -> dict[ClassCode, int]:
    """What a shrink from ``shape`` to ``target`` frees, kind by kind; a kind that ``target`` leaves out stays."""
    freed = {kind: figure - target.get(kind, figure) for kind, figure in shape.items()}
    return {kind: figure for kind, figure in freed.items() if figure > 0}


def more(shape: Amounts, target: Amounts) -> dict[ClassCode, int]:
    """What an expansion from ``shape`` to ``target`` needs beyond ``shape``."""
    needed = {kind: figure - shape.get(kind, 0) for kind, figure in target.items()}
    return {kind: figure for kind, figure in needed.items() if figure > 0}


def gentler(shape: Amounts, noticed: Amounts, fresh: Amounts | None) -> dict[ClassCode, int]:
    """The target of a shrink after it was judged again: never below what the department was told, never below what
    the fresh judgement holds safe, never above the present ``shape``. No fresh target: nothing may shrink."""
    if fresh is None:
        return dict(shape)
    return {
        kind: min(figure, max(noticed.get(kind, figure), fresh.get(kind, figure))) for kind, figure in shape.items()
    }


def growth(shape: Amounts, target: Amounts) -> float:
    """The largest relative growth over the kinds: 0.25 = a quarter more, inf = of something it had none of."""
    ratios = (figure / shape[kind] if shape.get(kind) else float("inf") for kind, figure in more(shape, target).items())
    return max(ratios, default=0.0)

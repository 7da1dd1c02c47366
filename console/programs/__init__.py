"""Programs at the door: what a request of one asks, and what views declare so that programs may call them.

A view answers people with a page and programs (``/api/v1``) with JSON; it is the same view, with the same rights, the same form
and the same verb. Here is what lists, forms and refusals must know of that; who answers is ``console.api``.
"""

from __future__ import annotations

from console.programs import asked
from console.programs.declarations import (
    ACT,
    DOWNLOAD,
    GENERATION,
    LIST,
    UNFIT,
    Download,
    Given,
    ListDeclaration,
    Takes,
    downloads,
    listed,
    takes,
    unfit,
)

__all__ = [
    "ACT",
    "DOWNLOAD",
    "GENERATION",
    "LIST",
    "UNFIT",
    "Download",
    "Given",
    "ListDeclaration",
    "Takes",
    "asked",
    "downloads",
    "listed",
    "takes",
    "unfit",
]

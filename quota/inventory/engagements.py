"""Engagements: what a resource is busy with, so that nothing else may be asked of it meanwhile.

The register does not know orders or whatever else works on resources; whoever does registers its question here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quota.inventory.resources import Resource

if TYPE_CHECKING:
    from quota.db import Tx

Question = Callable[["Tx", Resource], None]
"""Raises Refused, with a sentence that names what the resource is busy with."""

_questions: list[Question] = []


def ask(question: Question) -> Question:
    """Have ``question`` asked of every resource that something is asked of (a decorator)."""
    if question not in _questions:
        _questions.append(question)
    return question


def must_be_free(tx: Tx, resource: Resource) -> None:
    """Raise what the first question raises that the resource is busy for."""
    for question in _questions:
        question(tx, resource)

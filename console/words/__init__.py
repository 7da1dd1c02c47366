"""Words: figures, times, names, states, rules and policies in the reader's language."""

from __future__ import annotations

from console.words import audit, disclosure, evidence, formulas, names, policies, resources, rules, texts, waits
from console.words.audit import CASE_ACTIONS, action, events
from console.words.names import who, who_exactly
from console.words.policies import FIGURES, MISSING_LABELS, SPEEDS
from console.words.refusals import WORDS, words
from console.words.resources import identified
from console.words.rules import OPERATOR_LABELS, FactComparison, Groups
from console.words.services import CLASS_LABELS, KINDS, ORDERED
from console.words.states import STATES
from console.words.texts import (
    ARCH_LABELS,
    COOKIE,
    LANGUAGES,
    UNKNOWN,
    _,
    amount,
    amounts,
    days_left,
    item_name,
    joined,
    kind_label,
    language,
    lazy,
    number,
    percent,
    plain,
    role,
    sentence,
    show,
    state,
    when,
)

__all__ = [
    "ARCH_LABELS",
    "CASE_ACTIONS",
    "CLASS_LABELS",
    "COOKIE",
    "FIGURES",
    "KINDS",
    "LANGUAGES",
    "MISSING_LABELS",
    "OPERATOR_LABELS",
    "ORDERED",
    "SPEEDS",
    "STATES",
    "UNKNOWN",
    "WORDS",
    "FactComparison",
    "Groups",
    "_",
    "action",
    "amount",
    "amounts",
    "audit",
    "days_left",
    "disclosure",
    "events",
    "evidence",
    "formulas",
    "identified",
    "item_name",
    "joined",
    "kind_label",
    "language",
    "lazy",
    "names",
    "number",
    "percent",
    "plain",
    "policies",
    "resources",
    "role",
    "rules",
    "sentence",
    "show",
    "state",
    "texts",
    "waits",
    "when",
    "who",
    "who_exactly",
    "words",
]

"""Conditions over the facts of a request, as JSON, and what follows where a fact is not known. Pure.

    {}                                                    always
    {"fact": "vcpu", "op": ">", "value": 64}              a comparison
    {"all": [...]}, {"any": [...]}, {"not": {...}}        and, or, not

A comparison with a fact that is not known (None) is neither true nor false, and so is what depends on it: Kleene's logic of
three values. What follows from that is the business of who asks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from quota.errors import N_, Invalid
from quota.requests.rules.vocabulary import FACTS

Facts = Mapping[str, Any]
Condition = Mapping[str, Any]

DEEPEST = 8
LARGEST = 200
"""Comparisons of one condition."""
LONGEST = 64
"""Characters of what a list shall have: so long a code, or the name of a kind of annex, is kept."""

OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda fact, values: fact in values,
    "has": lambda facts, value: value in facts,
    "multiple": lambda fact, of: fact % of == 0,
}


def truth(condition: Condition, facts: Facts) -> bool | None:
    """Whether ``condition`` is true of ``facts``; None where that hangs on what is not known. Raises Invalid where a fact that
    it needs is missing altogether."""
    if not condition:
        return True
    if "all" in condition:
        return _least(truth(one, facts) for one in condition["all"])
    if "any" in condition:
        return _not(_least(_not(truth(one, facts)) for one in condition["any"]))
    if "not" in condition:
        return _not(truth(condition["not"], facts))
    name = condition["fact"]
    if name not in facts:
        raise Invalid("rules.fact", N_("审批规则用到了未知的事实 %(fact)s"), fact=name)
    if facts[name] is None:
        return None
    return bool(OPERATORS[condition["op"]](facts[name], condition["value"]))


def _not(one: bool | None) -> bool | None:
    return None if one is None else not one


def _least(parts: Iterable[bool | None]) -> bool | None:
    """False where any is, else None where any is, else True."""
    known = list(parts)
    return False if False in known else None if None in known else True


def holds(condition: Condition, facts: Facts) -> bool:
    """Whether ``condition`` is true of ``facts`` for certain. Raises as ``truth``."""
    return truth(condition, facts) is True


def why(condition: Condition, facts: Facts) -> list[str]:
    """The comparisons in ``condition`` that hold of ``facts``, or may, as text (``vcpu 96 > 64``, ``mlps_level ? >= 3``)."""
    if not condition:
        return []
    for word in ("all", "any"):
        if word in condition:
            return [
                text for one in condition[word] if truth(one, facts) is not False for text in why(one, facts)
            ]  # fmt: skip
    if "not" in condition:
        inner = condition["not"]
        return [f"not {_spelled(inner, facts)}"] if "fact" in inner else []
    return [_spelled(condition, facts)]


def _spelled(comparison: Condition, facts: Facts) -> str:
    name, op, value = comparison["fact"], comparison["op"], comparison["value"]
    fact = facts[name]
    if isinstance(fact, bool) and isinstance(value, bool) and op in ("==", "!="):
        return f"{name} {str(fact).lower()}"
    return f"{name} {'?' if fact is None else fact} {op} {value}"


def named(condition: Condition, fact: str) -> Iterator[str]:
    """What ``condition`` asks that the list ``fact`` has, or has not."""
    for word in ("all", "any"):
        for one in condition.get(word, ()):
            yield from named(one, fact)
    if "not" in condition:
        yield from named(condition["not"], fact)
    if condition.get("fact") == fact and condition["op"] == "has":
        yield condition["value"]


def check(condition: Any) -> None:
    """Refuse a condition that cannot be applied: Invalid naming what is wrong."""
    if _comparisons(condition, 0) > LARGEST:
        raise bad(N_("条件的比较太多"))


def _comparisons(condition: Any, depth: int) -> int:
    """How many comparisons ``condition`` has, each looked at."""
    if not isinstance(condition, Mapping) or depth > DEEPEST:
        raise bad(N_("条件的写法不对"))
    words = set(condition)
    if not words and depth == 0:
        return 0
    if words in ({"all"}, {"any"}):
        (parts,) = condition.values()
        if not isinstance(parts, list) or not parts:
            raise bad(N_("条件的写法不对"))
        return sum(_comparisons(part, depth + 1) for part in parts)
    if words == {"not"}:
        return _comparisons(condition["not"], depth + 1)
    if words == {"fact", "op", "value"}:
        _check_comparison(condition["fact"], condition["op"], condition["value"])
        return 1
    raise bad(N_("条件的写法不对"))


def _check_comparison(fact: Any, op: Any, value: Any) -> None:
    if not isinstance(fact, str) or not isinstance(op, str) or fact not in FACTS or op not in OPERATORS:
        raise bad(N_("条件用到了未知的事实或比较符"))
    kind = FACTS[fact].type
    number = kind in (int, float)
    if op == "in":
        fits = kind is not list and isinstance(value, list) and all(_is(kind, one) for one in value)
    elif op == "has":
        fits = kind is list and isinstance(value, str)
        if fits and len(value) > LONGEST:
            raise bad(N_("条件中的文字太长"))
    elif op == "multiple":
        fits = number and _is(int, value) and value > 0
    elif op in ("==", "!="):
        fits = kind is not list and _is(kind, value)
    else:
        fits = number and _is(kind, value)
    if not fits:
        raise bad(N_("条件中的值与事实的类型不符"))


def _is(kind: type, value: Any) -> bool:
    if kind in (int, float):
        # Neither NaN nor infinity: nothing is greater than they are, and they are no JSON.
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return isinstance(value, kind)


def bad(why_not: str, **params: Any) -> Invalid:
    """A rule that cannot be applied."""
    return Invalid("rules.bad", N_("审批规则无效:%(why)s"), why=why_not, field="condition", **params)

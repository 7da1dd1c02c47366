"""A plugin: what a collection found, as lines that two processes can compare. ``-p tests.suite.collected``.

A line is a test's id with a parameter's name and content. The content matters beside the id: long bytes and objects
are numbered in the id, and a clock in them would come to light only in what a test says when it fails.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TARGET = "GUANJIA_COLLECTED"
"""The environment variable that names the file to write."""


def content(value: Any, within: tuple[int, ...] = ()) -> str:
    """``value`` as text that tells its content, free of the order of a set and of where objects lie in memory."""
    if id(value) in within:
        return "…"
    inner = (*within, id(value))
    if isinstance(value, functools.partial):
        return f"partial({content(value.func, inner)}, {content([value.args, value.keywords], inner)})"
    if isinstance(value, (type, ModuleType)) or hasattr(value, "__code__"):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{content(k, inner)}: {content(v, inner)}" for k, v in value.items()) + "}"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(content(one, inner) for one in value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(content(one, inner) for one in value) + "]"
    if dataclasses.is_dataclass(value):
        # By its fields: a slotted one has nothing else, and its repr tells where the functions in it lie.
        told = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return f"{type(value).__name__}{content(told, inner)}"
    if type(value).__repr__ is object.__repr__:
        return f"{type(value).__name__}{content(getattr(value, '__dict__', {}), inner)}"
    return repr(value)


def pytest_collection_finish(session: pytest.Session) -> None:
    lines = []
    for item in session.items:
        lines.append(item.nodeid)
        called = getattr(item, "callspec", None)
        lines += [
            f"{item.nodeid} {name} = {content(value)}" for name, value in (called.params if called else {}).items()
        ]
    Path(os.environ[TARGET]).write_text("\n".join(lines), encoding="utf-8", errors="backslashreplace")

"""A folder a subject, a module a noun; each noun has a ``blueprint``, and every view of it says who may open it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from flask import Blueprint


def blueprints() -> Iterator[Blueprint]:
    """The blueprints of all pages, by name of module; all are imported first, since one may add pages to another's."""
    for module in _modules():
        blueprint = getattr(module, "blueprint", None)
        if isinstance(blueprint, Blueprint) and blueprint.import_name == module.__name__:
            yield blueprint


@cache
def _modules() -> list[ModuleType]:
    names = sorted(found.name for found in pkgutil.walk_packages(__path__, f"{__name__}.") if not found.ispkg)
    return [importlib.import_module(name) for name in names]

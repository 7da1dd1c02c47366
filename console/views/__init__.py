"""One module a noun; each has a ``blueprint``, and every view of it says who may open it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from flask import Blueprint


def blueprints() -> Iterator[Blueprint]:
    """The blueprints of all view modules, by name of module; all are imported first, since one may add pages to another's."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    for module in [importlib.import_module(f"{__name__}.{name}") for name in names]:
        blueprint = getattr(module, "blueprint", None)
        if isinstance(blueprint, Blueprint):
            yield blueprint

"""Indicators, a file each. A file that lies here is loaded, and registers itself; nothing else names it."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__: list[str] = []

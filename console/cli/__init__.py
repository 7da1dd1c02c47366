"""``guanjia``: the steward from the command line."""

from __future__ import annotations

from console.memory import loading

with loading():
    from console.cli.commands import main

__all__ = [
    "main",
]

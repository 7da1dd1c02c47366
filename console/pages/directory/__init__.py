"""Pages of the directory: departments, systems, people, pools, companies, catalogue."""

from __future__ import annotations

from console.pages.directory import connections

__all__ = [
    "connections",
]

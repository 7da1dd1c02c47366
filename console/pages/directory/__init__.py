"""Pages of the directory: departments, systems, people, pools, companies, catalogue."""

from __future__ import annotations

from console.pages.directory import connections
from console.pages.directory.people import PersonBelonging

__all__ = [
    "PersonBelonging",
    "connections",
]

"""How a house runs: the processes, the web server before slow strangers, who holds the data directory, whose its files are."""

from __future__ import annotations

from console.service import logs, processes
from console.service.processes import PortTaken

__all__ = [
    "PortTaken",
    "logs",
    "processes",
]

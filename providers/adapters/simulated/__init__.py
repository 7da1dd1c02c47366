"""A cloud that does not exist: the pools of the demo city 云港市, the same for the same seed, obeying orders."""

from __future__ import annotations

from providers.adapters.simulated import city
from providers.adapters.simulated.city import CITY
from providers.adapters.simulated.cloud import SimulatedCloud

__all__ = [
    "CITY",
    "SimulatedCloud",
    "city",
]

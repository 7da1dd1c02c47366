"""A cloud that the console cannot reach: an agent beside it lists, measures and carries out."""

from __future__ import annotations

from providers.adapters.agent.cloud import AgentCloud, AgentOptions

__all__ = [
    "AgentCloud",
    "AgentOptions",
]

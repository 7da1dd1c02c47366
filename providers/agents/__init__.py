"""Agents (云侧代理): processes beside clouds that the console cannot reach. Who is let in, and the agent itself."""

from __future__ import annotations

from providers.agents import agents
from providers.agents.agents import ADAPTER, Agent
from providers.agents.beside import AgentConfig, AgentRound, BesideCloud, configured

__all__ = [
    "ADAPTER",
    "Agent",
    "AgentConfig",
    "AgentRound",
    "BesideCloud",
    "agents",
    "configured",
]

"""Monitoring: endpoints that are probed, alerts that Alertmanager hands over, and the incidents that both tell of.

Nothing is deducted by it: what monitoring finds is an incident like any other, whose responsibility somebody rules.
"""

from __future__ import annotations

from providers.monitoring import alerts, endpoints, mappings, outages, receiving
from providers.monitoring.alerts import Alert
from providers.monitoring.endpoints import EndpointDay, ProbeEndpoint
from providers.monitoring.mappings import AlertMapping
from providers.monitoring.matching import MappedTo, MappingLine
from providers.monitoring.outages import OutageSignal, SignalKind
from providers.monitoring.readings import TargetProbes, by_target
from providers.monitoring.receiving import AlertsTaken

__all__ = [
    "Alert",
    "AlertMapping",
    "AlertsTaken",
    "EndpointDay",
    "MappedTo",
    "MappingLine",
    "OutageSignal",
    "ProbeEndpoint",
    "SignalKind",
    "TargetProbes",
    "alerts",
    "by_target",
    "endpoints",
    "mappings",
    "outages",
    "receiving",
]

"""Logins and visits of systems as single sign-on, load balancers and web logs push them: counted by day, with how much of the day is
known and who says so."""

from __future__ import annotations

from metering.visits import counters, receiving
from metering.visits.settling import settle
from metering.visits.tables import MeasuredVisits, SystemVisits, VisitKind, VisitSeries

__all__ = ["MeasuredVisits", "SystemVisits", "VisitKind", "VisitSeries", "counters", "receiving", "settle"]

"""Services of people (人工服务): what a company's people do once for a department, by the day or by the piece: what it costs from which day on,
asked for by a request, reported by the company, confirmed by the department, and paid for with the month's settlement."""

from __future__ import annotations

from providers.labour import jobs, rates
from providers.labour import moves as _moves  # noqa: F401 - what moves with a department, registered
from providers.labour.jobs import JOB_LABELS, UNDER_WAY, LabourJob, LabourState
from providers.labour.kind import yuan
from providers.labour.rates import LabourRate

__all__ = ["JOB_LABELS", "UNDER_WAY", "LabourJob", "LabourRate", "LabourState", "jobs", "rates", "yuan"]

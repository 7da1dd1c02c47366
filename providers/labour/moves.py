"""What a reorganisation takes along: with a merger, jobs that are not confirmed yet; with a split those about what goes."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_

from providers.labour.jobs import UNDER_WAY, LabourJob
from quota.db import among
from quota.directory import movers
from quota.errors import N_


class LabourJobs(movers.Rows):
    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        return and_(LabourJob.state.in_(UNDER_WAY), among(LabourJob.system_id, found["systems"].rows))

    def about(self, found: movers.Parts) -> ColumnElement[bool]:
        of = among(LabourJob.system_id, found["systems"].rows), among(LabourJob.request_id, found["requests"].rows)
        return and_(LabourJob.state.in_(UNDER_WAY), or_(*of))


jobs = movers.register(
    LabourJobs("labour_jobs", LabourJob, N_("未确认的人工服务"), noun=N_("人工服务"), waiting=list(UNDER_WAY)),
    order=515,
)

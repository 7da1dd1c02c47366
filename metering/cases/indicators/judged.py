"""The assessment that a period is told by, and what it found of a department's or a system's resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import select

from metering.judging import Assessment, Finding, PolicyVersion, findings
from providers.assessment import Gathering, periods, whose
from quota.directory import System
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

POLICY = "default"


def run_of(tx: Tx, period: str) -> Assessment | None:
    """The newest assessment of the days up to the period's end; None where the period has none of its own."""
    first, last = periods.first_day(period), periods.last_day(period, tx.now)
    return tx.scalar(
        select(Assessment)
        .join(PolicyVersion)
        .where(
            PolicyVersion.name == POLICY, Assessment.last_day <= last, Assessment.last_day >= first, findings.in_book()
        )
        .order_by(Assessment.last_day.desc(), Assessment.as_of.desc(), Assessment.id.desc())
        .limit(1)
    )


def of(gathering: Gathering, run: Assessment) -> Iterator[tuple[Finding, Resource, System | None]]:
    """What ``run`` found of the subject's resources, by system and resource."""
    yield from gathering.tx.execute(
        select(Finding, Resource, System)
        .join(Resource, Resource.id == Finding.resource_id)
        .outerjoin(System, System.id == Resource.system_id)
        .where(Finding.assessment_id == run.id, whose.resources(gathering.tx, gathering.subject))
        .order_by(System.id, Resource.id)
    ).all()

"""The demo city's reports of the month before: of the city, of one company and of one department, as the job makes them."""

from __future__ import annotations

from sqlalchemy import select

from console import reports
from console.settings import Settings
from metering.reports import periods
from metering.workbench import Workbench
from quota.actors import Role, steward
from quota.directory import CloudProvider, Department, Person


def make(workbench: Workbench, settings: Settings) -> None:
    """An edition of each. Those of everybody else are left to the job, or to whoever wants one."""
    with workbench.book.reading(steward("init")) as tx:
        month = periods.last_month(tx.now, settings.zone)
        company = tx.scalars(select(CloudProvider.code).order_by(CloudProvider.id)).first()
        department = tx.scalars(
            select(Department.code)
            .join(Person, Person.department_id == Department.id)
            .where(Person.role == Role.TENANT.value)
            .order_by(Person.id)
        ).first()
    for scope in ("city", f"provider:{company}", f"department:{department}"):
        reports.make(workbench, settings, scope, month, actor=steward("job:reports"))

"""What of the directory a reorganisation takes along: departments below, information systems, people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, select, true

from quota.db import among
from quota.directory.dated import DatedEntry, DatedKind
from quota.directory.departments import Department, System
from quota.directory.funded_projects import FundedProject
from quota.directory.hosted import HostedEquipment
from quota.directory.movers import Adjustment, Part, Parts, ReorganisationStep, Rows, register
from quota.directory.outside import OutsideFacility
from quota.directory.people import Person
from quota.errors import N_, Invalid

if TYPE_CHECKING:
    from quota.db import Tx


class Systems(Rows):
    """With a merger all; else those that were chosen: of a split maybe none."""

    def find(self, tx: Tx, step: ReorganisationStep, found: Parts) -> Part:
        if step.kind is Adjustment.MERGE:
            return super().find(tx, step, found)
        chosen = System.department_id == step.source_id, among(System.id, step.systems)
        systems = list(tx.scalars(select(System.id).where(*chosen).order_by(System.id)))
        if (not systems and step.kind is Adjustment.SYSTEMS) or len(systems) != len(step.systems):
            raise Invalid("reorganisation.systems", N_("请选择转出单位的信息系统"), field="systems")
        return Part(systems)


class People(Rows):
    """With a merger all, with a split those that were chosen. What they may see changes: they log in again."""

    def free(self) -> ColumnElement[bool]:
        return true()

    def beside(self) -> dict[str, Any]:
        return {"session_epoch": Person.session_epoch + 1}


class OfSystems(Rows):
    """With a merger all; else what is of the systems that go."""

    staying: tuple[str, ...] = ()
    """Kinds that stay."""

    def find(self, tx: Tx, step: ReorganisationStep, found: Parts) -> Part:
        if step.kind is Adjustment.MERGE:
            return super().find(tx, step, found)
        query = select(self.model.id).where(
            self.model.department_id == step.source_id,
            self.model.kind.not_in(self.staying),
            among(self.model.system_id, found["systems"].rows),
        )
        return Part(list(tx.scalars(query.order_by(self.model.id))))


class Ends(OfSystems):
    """A vendor stays with whom it has a contract with, and its people with it."""

    staying = (DatedKind.VENDOR.value, DatedKind.ACCESS.value)


children = register(Rows("children", Department, N_("下级单位"), column="parent_id"), order=10)
systems = register(Systems("systems", System, N_("信息系统")), order=20)
people = register(People("people", Person, N_("人员")), order=30)
facilities = register(Rows("outside_facilities", OutsideFacility, N_("云外资源")), order=26)
ends = register(Ends("dated_entries", DatedEntry, N_("到期事项")), order=27)
hosted = register(OfSystems("hosted_equipment", HostedEquipment, N_("托管设备")), order=28)
projects = register(Rows("funded_projects", FundedProject, N_("立项项目")), order=25)

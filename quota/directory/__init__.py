"""The directory: departments with their information systems, people, companies with their pools, the catalogue, and how
departments were reorganised."""

from __future__ import annotations

from quota.directory import (
    assurance,
    catalog,
    city,
    cloud_targets,
    companies,
    dated,
    delegations,
    departments,
    funded_projects,
    headships,
    hosted,
    likeness,
    movers,
    outside,
    pools,
    presets,
    reorganisations,
)
from quota.directory import moves as _moves  # noqa: F401 - what of the directory moves, registered
from quota.directory.catalog import LONGEST_DELIVERY, CatalogItem
from quota.directory.cloud_targets import CloudTarget
from quota.directory.dated import DATED_FIELDS, DATED_LABELS, DatedEntry, DatedKind, DatedState, DatedTerm
from quota.directory.delegations import Delegation
from quota.directory.departments import (
    DATA_LEVELS,
    FIELDS,
    DataLevel,
    Department,
    System,
    department,
    in_use,
    must_be_open,
    subtree,
    was_in_use,
)
from quota.directory.funded_projects import FundedProject, FundedProjectSystem, ProjectState
from quota.directory.headships import DUTY_LABELS, HEADSHIP_FIELDS, Duty, Headship
from quota.directory.hosted import HOSTED_FIELDS, HOSTED_LABELS, HostedEquipment, HostedKind, HostedState
from quota.directory.movers import LABELS, Adjustment
from quota.directory.outside import (
    FACILITY_FIELDS,
    FACILITY_LABELS,
    FacilityKind,
    FacilityState,
    OutsideFacility,
    OutsideFacilitySystem,
)
from quota.directory.people import Person
from quota.directory.pools import CloudProvider, Pool, PoolCapacity, check_capacity, pool, provider, usable
from quota.directory.presets import SizePreset
from quota.directory.reorganisations import Division, Reorganisation
from quota.directory.successions import mergers

__all__ = [
    "DATA_LEVELS",
    "DATED_FIELDS",
    "DATED_LABELS",
    "DUTY_LABELS",
    "FACILITY_FIELDS",
    "FACILITY_LABELS",
    "FIELDS",
    "HEADSHIP_FIELDS",
    "HOSTED_FIELDS",
    "HOSTED_LABELS",
    "LABELS",
    "LONGEST_DELIVERY",
    "Adjustment",
    "CatalogItem",
    "CloudProvider",
    "CloudTarget",
    "DataLevel",
    "DatedEntry",
    "DatedKind",
    "DatedState",
    "DatedTerm",
    "Delegation",
    "Department",
    "Division",
    "Duty",
    "FacilityKind",
    "FacilityState",
    "FundedProject",
    "FundedProjectSystem",
    "Headship",
    "HostedEquipment",
    "HostedKind",
    "HostedState",
    "OutsideFacility",
    "OutsideFacilitySystem",
    "Person",
    "Pool",
    "PoolCapacity",
    "ProjectState",
    "Reorganisation",
    "SizePreset",
    "System",
    "assurance",
    "catalog",
    "check_capacity",
    "city",
    "cloud_targets",
    "companies",
    "dated",
    "delegations",
    "department",
    "departments",
    "funded_projects",
    "headships",
    "hosted",
    "in_use",
    "likeness",
    "mergers",
    "movers",
    "must_be_open",
    "outside",
    "pool",
    "pools",
    "presets",
    "provider",
    "reorganisations",
    "subtree",
    "usable",
    "was_in_use",
]

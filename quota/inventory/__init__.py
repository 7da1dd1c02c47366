"""The inventory (台账): the book's own register of what runs in the pools, whose it is, and by what right. The door to all its
verbs.

``adopt`` books what exists when a city first connects a pool, ``takeovers`` a department's, a pool's or a later find by a
document; ``inquiries`` asks departments about resources; ``arrive`` and ``enact`` enter what orders did, ``reassign`` what a
reorganisation moves; ``bear``, ``write`` and ``seen`` what listings tell. ``tiers`` are machines that do the same
work behind one load balancer. ``disclosure`` says whose resources a text names. Read through ``resource``, ``history`` and
``state_periods``.
"""

from __future__ import annotations

from quota.inventory import disclosure, engagements, inquiries, owners, projects, readiness, takeovers, tiers
from quota.inventory import moves as _moves  # noqa: F401 - what of the inventory moves, registered
from quota.inventory.adoption import Adopted, adopt, of_its_pools_arch
from quota.inventory.cloud_projects import CloudProject
from quota.inventory.inquiries import (
    GivenAnswer,
    Inquiry,
    InquiryAnswer,
    InquiryGround,
    InquiryItem,
    InquiryPurpose,
    InquiryState,
)
from quota.inventory.observed import bear, change, gone, known, ordered_since, seen, write
from quota.inventory.past_states import StatePeriod, resized, state_periods, unattached
from quota.inventory.resources import (
    TOLD,
    Change,
    Resource,
    ResourceChange,
    about,
    arrive,
    as_it_ran,
    enact,
    history,
    ids,
    names,
    reassign,
    resource,
    seen_by,
    there_at,
    visible,
)
from quota.inventory.services import BESIDE, ResourceState, ServiceKind
from quota.inventory.tiers import Tier, TierMember

__all__ = [
    "BESIDE",
    "TOLD",
    "Adopted",
    "Change",
    "CloudProject",
    "GivenAnswer",
    "Inquiry",
    "InquiryAnswer",
    "InquiryGround",
    "InquiryItem",
    "InquiryPurpose",
    "InquiryState",
    "Resource",
    "ResourceChange",
    "ResourceState",
    "ServiceKind",
    "StatePeriod",
    "Tier",
    "TierMember",
    "about",
    "adopt",
    "arrive",
    "as_it_ran",
    "bear",
    "change",
    "disclosure",
    "enact",
    "engagements",
    "gone",
    "history",
    "ids",
    "inquiries",
    "known",
    "names",
    "of_its_pools_arch",
    "ordered_since",
    "owners",
    "projects",
    "readiness",
    "reassign",
    "resized",
    "resource",
    "seen",
    "seen_by",
    "state_periods",
    "takeovers",
    "there_at",
    "tiers",
    "unattached",
    "visible",
    "write",
]

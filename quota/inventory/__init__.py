"""The inventory (台账): the book's own register of what runs in the pools, whose it is, and by what right. The door to all its
verbs.

``adopt`` books what exists when a city first connects a pool, ``takeovers`` a department's, a pool's or a later find by a
document; ``inquiries`` asks departments about resources; ``arrive`` and ``enact`` enter what orders did, ``reassign`` what a
reorganisation moves; ``bear``, ``write`` and ``seen`` what listings tell. Read through ``resource``, ``history`` and
``state_periods``.
"""

from __future__ import annotations

from quota.inventory import engagements, inquiries, owners, takeovers
from quota.inventory import moves as _moves  # noqa: F401 - what of the inventory moves, registered
from quota.inventory.adoption import Adopted, adopt
from quota.inventory.inquiries import (
    GivenAnswer,
    Inquiry,
    InquiryAnswer,
    InquiryItem,
    InquiryPurpose,
    InquiryState,
)
from quota.inventory.observed import bear, change, gone, known, ordered_since, seen, write
from quota.inventory.past_states import StatePeriod, state_periods, unattached
from quota.inventory.resources import (
    TOLD,
    Change,
    Resource,
    ResourceChange,
    about,
    arrive,
    enact,
    history,
    ids,
    names,
    reassign,
    resource,
    seen_by,
    visible,
)
from quota.inventory.services import ResourceState, ServiceKind

__all__ = [
    "TOLD",
    "Adopted",
    "Change",
    "GivenAnswer",
    "Inquiry",
    "InquiryAnswer",
    "InquiryItem",
    "InquiryPurpose",
    "InquiryState",
    "Resource",
    "ResourceChange",
    "ResourceState",
    "ServiceKind",
    "StatePeriod",
    "about",
    "adopt",
    "arrive",
    "bear",
    "change",
    "enact",
    "engagements",
    "gone",
    "history",
    "ids",
    "inquiries",
    "known",
    "names",
    "ordered_since",
    "owners",
    "reassign",
    "resource",
    "seen",
    "seen_by",
    "state_periods",
    "takeovers",
    "unattached",
    "visible",
    "write",
]

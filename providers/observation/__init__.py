"""The inventory (台账): what each cloud says it runs, and what of it was approved. The door to all its verbs.

``observe`` enters a listing as evidence; ``adopt`` books what exists when a city first connects a pool; ``arrive`` and
``enact`` enter what orders did, ``reassign`` what a reorganisation moves. Read through ``resource``, ``history`` and
``spells``.
"""

from __future__ import annotations

from providers.observation import held_listings
from providers.observation.adoption import Adopted, adopt
from providers.observation.listings import CAUTION, Caution, Drift, Held, Listing, last_listing, observe
from providers.observation.past_states import Spell, spells, unattached
from providers.observation.resources import (
    ADOPTED,
    TOLD,
    Change,
    Resource,
    ResourceChange,
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

__all__ = [
    "ADOPTED",
    "CAUTION",
    "TOLD",
    "Adopted",
    "Caution",
    "Change",
    "Drift",
    "Held",
    "Listing",
    "Resource",
    "ResourceChange",
    "Spell",
    "adopt",
    "arrive",
    "enact",
    "held_listings",
    "history",
    "ids",
    "last_listing",
    "names",
    "observe",
    "reassign",
    "resource",
    "seen_by",
    "spells",
    "unattached",
    "visible",
]

"""The inventory (台账): what each cloud says it runs, and what of it was approved. The door to all its verbs.

``observe`` enters a listing as evidence; ``adopt`` books what exists when a city first connects a pool; ``arrive`` and
``enact`` enter what orders did, ``reassign`` what a reorganisation moves. Read through ``resource``, ``history`` and
``spells``.
"""

from __future__ import annotations

from providers.adoption import Adopted, adopt
from providers.listings import Drift, Listing, last_listing, observe
from providers.resources import (
    ADOPTED,
    TOLD,
    Change,
    Resource,
    ResourceChange,
    arrive,
    enact,
    history,
    ids,
    reassign,
    resource,
    seen_by,
    visible,
)
from providers.spells import Spell, spells, unattached

__all__ = [
    "ADOPTED",
    "TOLD",
    "Adopted",
    "Change",
    "Drift",
    "Listing",
    "Resource",
    "ResourceChange",
    "Spell",
    "adopt",
    "arrive",
    "enact",
    "history",
    "ids",
    "last_listing",
    "observe",
    "reassign",
    "resource",
    "seen_by",
    "spells",
    "unattached",
    "visible",
]

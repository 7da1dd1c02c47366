"""Observation: what each cloud says it runs, entered as evidence into the book's inventory. The door to all its verbs.

``observe`` enters a listing; ``held_listings`` are those of which a person must say what they mean; ``cloud_figures`` is what clouds
say of their capacity and quotas, ``quota_drifts`` where the latter differ from the book; ``write_offs`` end what clouds have no more.
"""

from __future__ import annotations

from providers.observation import cloud_figures, held_listings, quota_drifts, write_offs
from providers.observation.listings import CAUTION, Caution, Drift, HeldBack, Listing, last_listing, observe, telling

__all__ = [
    "CAUTION",
    "Caution",
    "Drift",
    "HeldBack",
    "Listing",
    "cloud_figures",
    "held_listings",
    "last_listing",
    "observe",
    "quota_drifts",
    "telling",
    "write_offs",
]

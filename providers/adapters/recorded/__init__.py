"""A recording of real machines, played back as a cloud that obeys."""

from __future__ import annotations

from providers.adapters.recorded.cloud import RecordedCloud, Recording

__all__ = [
    "RecordedCloud",
    "Recording",
]

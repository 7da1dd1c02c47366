"""Files given as evidence: taken from forms, handed out as files."""

from __future__ import annotations

from console.pages.attachments import uploads
from console.pages.attachments.uploads import Uploaded, uploaded

__all__ = [
    "Uploaded",
    "uploaded",
    "uploads",
]

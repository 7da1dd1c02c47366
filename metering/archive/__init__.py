"""The archive: findings that the book no longer keeps, in files of the lake, and findings made again from their samples."""

from __future__ import annotations

from metering.archive import archives, recompute
from metering.archive.archives import ArchivedFindings, archive

__all__ = ["ArchivedFindings", "archive", "archives", "recompute"]

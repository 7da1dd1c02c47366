"""Pages of the audit trail and of verification."""

from __future__ import annotations

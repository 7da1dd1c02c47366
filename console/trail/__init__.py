"""The audit trail, handed on to where nobody of this house can change it: files of a day, and a log server.

Each place has a position in the book, moved only after the place has what lies before it: what dies between the two is handed
on again, so that a record may come twice and is never left out. Every record carries its digest and the one before it, by
which whoever keeps them proves the chain without the book.
"""

from __future__ import annotations

from console.trail import exports, files, syslog
from console.trail.exports import carry_out, standings
from console.trail.records import ExportedRecord, TrailGap

__all__ = ["ExportedRecord", "TrailGap", "carry_out", "exports", "files", "standings", "syslog"]

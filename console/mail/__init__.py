"""Mail: that something waits, and where; written by a job, taken to the city's own server."""

from __future__ import annotations

from console.mail import mails, postman

__all__ = [
    "mails",
    "postman",
]

"""What the forms that ask departments about resources have in common."""

from __future__ import annotations

from datetime import date, timedelta

from quota.calendar import ZONE
from quota.db import Tx

USUAL_WAIT = timedelta(days=10)


def usual_due(tx: Tx) -> date:
    """The day for an answer that a form begins with."""
    return tx.now.astimezone(ZONE).date() + USUAL_WAIT

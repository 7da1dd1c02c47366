"""What may be used once, remembered until it would be refused for its age anyway."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from console.identity.tables import IdentitySession, UsedMark
from quota.db import Tx

KEPT_DAYS = 180
"""As long as ended sessions are listed."""


def use(tx: Tx, what: str, until: datetime) -> bool:
    """Use ``what``; False where somebody did before."""
    digest = hashlib.sha256(what.encode()).hexdigest()
    tx.alone(f"mark:{digest}")
    if tx.get(UsedMark, digest) is not None:
        return False
    tx.add(UsedMark(digest=digest, until=until))
    tx.flush()
    return True


def sweep(tx: Tx) -> int:
    """Take away what is refused for its age, and sessions that nobody lists any more."""
    over = list(tx.scalars(select(UsedMark.digest).where(UsedMark.until < tx.now).limit(5000)))
    old = tx.now - timedelta(days=KEPT_DAYS)
    left = list(tx.scalars(select(IdentitySession.id).where(IdentitySession.started_at < old).limit(5000)))
    if over:
        tx.execute(delete(UsedMark).where(UsedMark.digest.in_(over)))
    if left:
        tx.execute(delete(IdentitySession).where(IdentitySession.id.in_(left)))
    return len(over) + len(left)

"""配额调整: more quota out of the pool, or some given back to it; done with the last signature."""

from __future__ import annotations

from quota.errors import N_
from quota.ledger import Holder
from quota.requests.declarations import Lines, RequestKind, Term, register

QUOTA = register(
    RequestKind(
        code="quota",
        label=N_("配额调整"),
        position=40,
        lines=Lines(signed=True, named=None),
        term=Term.OPTIONAL,
        counts_as=Holder.GRANTED,
        hint=N_("增加或交回本单位在资源池的配额"),
    )
)

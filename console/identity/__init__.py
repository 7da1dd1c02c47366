"""Identities from elsewhere (身份源): people come by the city's own login (OIDC, CAS, LDAP) as well as by password.

``sources`` is what a source is, ``kinds`` which there are, ``connections`` how one is reached; ``rulebook`` and ``rules`` what
its claims mean here; ``typed`` tries at a source what was typed here; ``arrivals`` whose account somebody is who comes by one, ``rechecks`` whether they still may, ``departures`` leaving both ways; ``break_glass``
who comes in by password all the same, ``absences`` whose programs rest until they come again. Every way ends in a ``Proof``: whether the door opens is said by
``console.accounts.admission``.
"""

from __future__ import annotations

from console.identity import (
    absences,
    arrivals,
    break_glass,
    connections,
    departures,
    kinds,
    marks,
    rechecks,
    rulebook,
    rules,
    sources,
    typed,
)
from console.identity.rules import ANEW_MINUTES, LOST, MOST_ROLES, TOKEN_DAYS, Rules, meaning
from console.identity.sources import FAULTS, Identity, RedirectSource, SourceFault
from console.identity.tables import (
    BreakGlass,
    BreakGlassUse,
    IdentityLink,
    IdentityRule,
    IdentitySession,
    IdentitySource,
)

__all__ = [
    "ANEW_MINUTES",
    "FAULTS",
    "LOST",
    "MOST_ROLES",
    "TOKEN_DAYS",
    "BreakGlass",
    "BreakGlassUse",
    "Identity",
    "IdentityLink",
    "IdentityRule",
    "IdentitySession",
    "IdentitySource",
    "RedirectSource",
    "Rules",
    "SourceFault",
    "absences",
    "arrivals",
    "break_glass",
    "connections",
    "departures",
    "kinds",
    "marks",
    "meaning",
    "rechecks",
    "rulebook",
    "rules",
    "sources",
    "typed",
]

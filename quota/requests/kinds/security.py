"""安全服务: firewalls, audits, scans and the like by the set, for the systems that they protect; a work order each."""

from __future__ import annotations

from quota.errors import N_
from quota.requests.declarations import PURPOSE, PURPOSES, Compared, Lines, RequestField, RequestKind, Term, register
from quota.requests.kinds import protection
from quota.requests.tasks import for_each_piece
from quota.units import SECURITY

SECURITY_SERVICE = register(
    RequestKind(
        code="security",
        label=N_("安全服务"),
        position=62,
        lines=Lines(pieces=True, items=True, named=(SECURITY,), service="security"),
        fields=(
            RequestField(PURPOSE, N_("使用性质"), choices=PURPOSES),
            protection.PROTECTS,
            RequestField("wanted", N_("需要的安全能力"), long=True, required=True),
            RequestField("note", N_("备注"), long=True),
        ),
        term=Term.OPTIONAL,
        check=protection.check,
        tasks=for_each_piece("create"),
        compares=Compared.NAMED,
        hint=N_("防护、审计、扫描等安全服务，写明保护哪些信息系统"),
    )
)

"""密码服务: encryption, signatures, keys and the like by the instance, for the systems that they protect; a work order each."""

from __future__ import annotations

from quota.errors import N_
from quota.requests.declarations import PURPOSE, PURPOSES, Compared, Lines, RequestField, RequestKind, Term, register
from quota.requests.kinds import protection
from quota.requests.tasks import for_each_piece
from quota.units import CRYPTOGRAPHY

CRYPTOGRAPHY_SERVICE = register(
    RequestKind(
        code="cryptography",
        label=N_("密码服务"),
        position=64,
        lines=Lines(pieces=True, items=True, named=(CRYPTOGRAPHY,), service="cryptography"),
        fields=(
            RequestField(PURPOSE, N_("使用性质"), choices=PURPOSES),
            protection.PROTECTS,
            RequestField("wanted", N_("需要的密码能力与算法"), long=True, required=True),
            RequestField("assessed", N_("密评要求与计划日期")),
            RequestField("note", N_("备注"), long=True),
        ),
        term=Term.OPTIONAL,
        check=protection.check,
        tasks=for_each_piece("create"),
        compares=Compared.NAMED,
        hint=N_("加解密、签名验签、密钥管理等密码服务，写明保护哪些信息系统"),
    )
)

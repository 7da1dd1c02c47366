"""Which kinds of sources there are. A kind is a ``Source`` class with its options; ``register`` is all that another one needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from console.accounts import proofs
from console.identity.ldap import Ldap, LdapOptions
from console.identity.oidc import Oidc, OidcOptions
from console.identity.sources import Source
from quota.errors import N_, Invalid


@dataclass(frozen=True, slots=True)
class SourceKind:
    """``code`` is also the method of the proofs that it leads to; ``options``: a dataclass of ``providers.options``; ``login`` and
    ``name``: the claims that usually are these; ``typed``: whether it opens a ``PasswordSource``, whose password is typed here."""

    code: str
    label: str
    options: type
    open: Callable[[Any], Source]
    login: str
    name: str
    typed: bool = False


_kinds: dict[str, SourceKind] = {}


def register(kind: SourceKind) -> None:
    _kinds[kind.code] = kind
    proofs.METHODS[kind.code] = kind.label


def kind(code: str) -> SourceKind:
    """Raises Invalid where there is no such kind."""
    try:
        return _kinds[code]
    except KeyError:
        raise Invalid("identity.kind", N_("没有名为 %(name)s 的身份源类型"), name=code, field="kind") from None


def kinds() -> list[SourceKind]:
    return list(_kinds.values())


register(SourceKind("oidc", N_("OpenID Connect"), OidcOptions, Oidc, login="preferred_username", name="name"))
register(SourceKind("ldap", N_("LDAP 目录"), LdapOptions, Ldap, login="uid", name="cn", typed=True))

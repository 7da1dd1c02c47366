"""Which kinds of sources there are. A kind is a ``Source`` class with its options; ``register`` is all that another one needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from console.accounts import proofs
from console.identity.cas import Cas, CasOptions
from console.identity.ldap_options import LdapOptions
from console.identity.oidc import Oidc, OidcOptions
from console.identity.sources import Source
from quota.errors import N_, Invalid


@dataclass(frozen=True, slots=True)
class SourceKind:
    """``code`` is also the method of the proofs that it leads to; ``options``: a dataclass of ``providers.options``; ``login`` and
    ``name``: the claims that usually are these; ``about``: what who registers one does next; ``typed``: whether it opens a
    ``PasswordSource``, whose password is typed here. Of one that people go to: ``addresses``, the words by which its operators call the way
    back, where people come to after leaving, and where departures are sent; ``pattern``: whether the way back is known there by a pattern;
    ``second``: whether it tells, so that it can be believed, how many factors it asked for."""

    code: str
    label: str
    options: type
    open: Callable[[Any], Source]
    login: str
    name: str
    about: str = ""
    typed: bool = False
    addresses: tuple[str, str, str] = ("", "", "")
    pattern: bool = False
    second: bool = False


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


def _directory(options: LdapOptions) -> Source:
    # ldap3 is a tenth of what a web process loads, and most cities have no directory.
    from console.identity.ldap import Ldap

    return Ldap(options)


register(SourceKind(
    "oidc", N_("OpenID Connect"), OidcOptions, Oidc, login="preferred_username", name="name", second=True,
    about=N_("支持 OpenID Connect（授权码方式）。登记后，把下一页的回调地址交给身份源的管理员，再测试连接、制定规则。"),
    addresses=("redirect_uri", "post_logout_redirect_uri", "backchannel_logout_uri"),
))  # fmt: skip
register(SourceKind(
    "ldap", N_("LDAP 目录"), LdapOptions, _directory, login="uid", name="cn", typed=True,
    about=N_("登录名和密码在本系统的登录页输入，经加密连接交目录服务核对，本系统不保存密码。登记后测试连接，再制定规则。"),
))  # fmt: skip
register(SourceKind(
    "cas", N_("CAS 统一认证"), CasOptions, Cas, login="user", name="displayName",
    about=N_("支持 CAS 3.0（p3/serviceValidate）。登记后，把下一页的服务地址交给统一认证的管理员，再测试连接、制定规则。"),
    addresses=("service", "logout service", "logoutUrl"), pattern=True,
))  # fmt: skip

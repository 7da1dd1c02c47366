"""What a source of identities is to the house (身份源): who somebody is, told by somebody else than the house. Pure.

A source is one of two shapes, by what it asks of a person:

    RedirectSource      the person goes there and comes back (OIDC, CAS): ``begin`` says where to and what the browser keeps
                        meanwhile, ``finish`` makes an ``Identity`` of what it comes back with
    PasswordSource      the person tells login and password here (LDAP): ``identify`` makes an ``Identity`` of both

A source says who somebody is and nothing of what they may do here: ``rules`` say which rights its claims allow at most,
``arrivals`` which account it is, and ``console.accounts.admission`` whether the door opens. Nothing here is called while a
transaction is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from providers.connection import FAULTS as NETWORK_FAULTS
from quota.errors import N_

Claims = Mapping[str, Any]

FAULTS: Mapping[str, str] = {
    **NETWORK_FAULTS,
    "kind": N_("地址上的不是身份源:没有读到它的配置说明,请核对地址"),
    "insecure": N_("身份源的地址须以 https:// 开头"),
    "issuer": N_("身份源自称的签发者与登记的地址不同,请按它自称的登记"),
    "metadata": N_("身份源的配置说明缺少所需内容,或不支持授权码方式"),
    "keys": N_("无法读取身份源的签名公钥，或其中没有可用的"),
    "client": N_("身份源没有登记这个客户端编号"),
    "client_secret": N_("身份源不接受这个客户端的密钥"),
    "callback": N_("身份源没有登记本系统的回调地址"),
    "declined": N_("身份源没有同意登录"),
    "stale": N_("这次登录已过期或已用过,请重新开始"),
    "answer": N_("身份源的回应不是对这次登录的"),
    "token": N_("身份源的凭证未通过核验"),
    "not_anew": N_("身份源没有让您重新登录,不能当作再次核验"),
    "away": N_("您在身份源的登录已结束,请重新登录"),
    "gateway": N_("身份源没有登记本系统的地址,或不支持不经询问的登录(gateway)"),
    "protocol": N_("地址上没有 CAS 3.0 的验票接口,请核对地址;只支持 CAS 2.0 的,把验票接口填作 serviceValidate"),
    "once": N_("身份源这次没有做两步验证,不能当作再次核验"),
    "enrolled": N_("您已登记两步验证：这件事须用它核验，到身份源重新登录不能代替"),
    "large": N_("身份源的回应过大或过慢"),
    "off": N_("该身份源已停用"),
    "address": N_("地址须以 ldaps:// 或 ldap:// 开头"),
    "wrong": N_("登录名或密码不对"),
    "bind": N_("目录不接受查询所用的账号"),
    "filter": N_("查找人员的条件不合 LDAP 的写法"),
    "base": N_("目录服务中没有所填的人员目录"),
    "nobody": N_("目录里没有符合查找条件又有永久编号的人员,请核对查找条件与永久编号的属性"),
    "subject": N_("目录里的永久编号不合用:读不出、不止一个,或不止一人用它;请核对永久编号的属性"),
    "ca_file": N_("CA 证书文件读不到,或里面没有证书"),
}
"""Code of a fault → its sentence for people."""


class SourceFault(Exception):
    """Nobody could be identified. ``code`` is one of FAULTS; ``said`` is for those who look after the house, and never holds
    a secret or a token. ``rested``: told from memory, the source was not asked."""

    def __init__(self, code: str, said: str = "", *, rested: bool = False) -> None:
        super().__init__(code, said)
        self.code, self.said, self.rested = code, said[:1000], rested

    @property
    def message(self) -> str:
        """Its sentence for people."""
        return FAULTS.get(self.code, FAULTS["answer"])


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody as a source knows them: ``subject`` is theirs for ever at ``issuer``, ``claims`` what it tells of them,
    ``session`` the name of their session there ("": it has none), ``hint`` what it wants back when they leave."""

    issuer: str
    subject: str
    claims: Claims = field(default_factory=dict, repr=False)
    session: str = ""
    hint: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LogoutNotice:
    """That a source says somebody left: all their sessions, or the one called ``session``. ``mark`` is of this message
    alone; until ``until`` (seconds since 1970) the same one may come again and must not count twice. Without a mark nobody signed it: it
    names a session that only who opened it and the source know, and nothing is kept of one that means no open session."""

    issuer: str
    subject: str
    session: str
    mark: str = ""
    until: int = 0


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send a person, and what the browser keeps (signed, not hidden from it) until they are back."""

    address: str
    kept: Mapping[str, str]


@runtime_checkable
class RedirectSource(Protocol):
    """Each method may speak to the source, and raises SourceFault."""

    def begin(self, callback: str, since: int = 0, *, silent: bool = False) -> Begun:
        """Send somebody to the source, to come back to ``callback``. ``since`` (s since 1970) other than 0: the source is to ask
        them anew, whatever session they have there, and ``finish`` refuses a proof from before. ``silent``: it is to ask them
        nothing; ``finish`` raises the fault ``away`` where it does not know them without."""

    def finish(self, kept: Mapping[str, str], answer: Mapping[str, str], callback: str, now: int) -> Identity:
        """Who came back with ``answer`` (the address's parameters), having been sent with ``kept``. ``now``: s since 1970."""

    def leave(self, identity: Identity, back: str) -> str:
        """Where to send somebody who leaves, to leave there, too, and to come back to ``back``; "": the source has no such
        place."""

    def departed(self, message: Mapping[str, str], now: int) -> LogoutNotice:
        """Who left, as the form says that the source itself sends behind the person's back."""

    def probe(self, callback: str) -> str:
        """Try the connection; what the source says of itself, for people."""


@runtime_checkable
class PasswordSource(Protocol):
    """As above. Identities are told apart within the source: ``typed`` puts its code before their issuer. ``issuer``: what they
    all name as theirs."""

    @property
    def issuer(self) -> str: ...

    def identify(self, login: str, password: str) -> Identity:
        """Whose these are. What nobody's are is the fault ``wrong``, whichever of the two is."""

    def again(self, subject: str, password: str) -> Identity:
        """The same of somebody who is known already."""

    def standing(self, subjects: Sequence[str], now: datetime) -> Mapping[str, Claims]:
        """What it tells now of those of ``subjects`` whom it would still let in if their password were right; nothing of who is
        gone, closed, past their last day, or one of several. Raises SourceFault rather than tell of a part."""

    def probe(self, callback: str) -> str:
        """Try the connection."""


Source = RedirectSource | PasswordSource

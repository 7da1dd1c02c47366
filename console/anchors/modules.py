"""A key in a hardware module (HSM) that signs anchors, spoken to by PKCS #11: Ed25519 or ECDSA, as the key is. The key never leaves
the module, which is found by a URI of RFC 7512:

    pkcs11:token=guanjia;object=anchor?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/guanjia/pin

The module is opened for each signature and closed again: nothing stays logged in. A PIN that was refused is not tried again until its
file changes, and none where the token has one try left, since a few wrong ones lock a token for good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from cryptography.exceptions import InvalidSignature

from console.anchors import curves
from console.anchors.curves import Curve, thumbprint
from quota.errors import N_, Invalid, Refused

SCHEME = "pkcs11:"
_refused: set[tuple[str, int]] = set()
"""PINs that a token refused: (its file, when that was changed)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key is: the module's library, its token, the key's label, the file of the PIN."""

    module: Path
    token: str
    label: str
    pin: Path


def place(uri: str) -> Place:
    """What a URI of RFC 7512 says. Raises ValueError naming what is missing or not understood."""
    if not uri.startswith(SCHEME):
        raise ValueError("it does not begin with pkcs11:")
    path, _mark, query = uri.removeprefix(SCHEME).partition("?")
    told = {name: unquote(value) for name, _is, value in (part.partition("=") for part in path.split(";") if part)}
    told |= dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    known = ("token", "object", "type", "module-path", "pin-source")
    if "pin-value" in told:
        raise ValueError("a PIN does not stand in settings: name its file with pin-source")
    for name in told:
        if name not in known:
            raise ValueError(f"{name!r} is none of {', '.join(known)}")
    for name in ("token", "object", "module-path", "pin-source"):
        if not told.get(name):
            raise ValueError(f"{name} is missing")
    pin = told["pin-source"].removeprefix("file:").removeprefix("//")
    for file in (told["module-path"], pin):
        if not file.startswith("/"):
            raise ValueError(f"{file!r} is not the whole path of a file")
    return Place(Path(told["module-path"]), told["token"], told["object"], Path(pin))


class ModuleSigner:
    """Raises Invalid where the module, its token or the key is not there, or the PIN is refused."""

    def __init__(self, uri: str) -> None:
        try:
            self.place = place(uri)
        except ValueError as error:
            raise Invalid("anchor.module_uri", N_("anchor_pkcs11 的写法不对：%(why)s"), why=str(error)) from None
        with self._session() as (session, pkcs11):
            self.curve, self.public = self._known(session, pkcs11)
        self.algorithm = self.curve.algorithm
        self.key_id = thumbprint(self.public)

    def sign(self, data: bytes) -> bytes:
        with self._session() as (session, pkcs11):
            curve, public = self._known(session, pkcs11)
            if public != self.public:
                raise self._no("anchor.module_changed", N_("密码模块 %(token)s 中的密钥 %(label)s 中途换了，请重试"))
            key = self._found(session, pkcs11, pkcs11.ObjectClass.PRIVATE_KEY)
            if not curve.digest:
                return bytes(key.sign(data, mechanism=pkcs11.Mechanism.EDDSA))
            # Every module signs a digest; which of them make it themselves differs.
            return bytes(key.sign(hashlib.new(curve.digest, data).digest(), mechanism=pkcs11.Mechanism.ECDSA))

    def prove(self) -> None:
        """Sign something that is no anchor, and hold it against the public half. Raises Invalid where the two are no pair."""
        data = b"guanjia: whether this key can sign"
        try:
            curves.verify(self.public, self.sign(data), data)
        except (InvalidSignature, ValueError):
            raise self._no(
                "anchor.module_pair", N_("密码模块 %(token)s 中名为 %(label)s 的公钥与私钥不是一对")
            ) from None

    def _known(self, session: Any, pkcs11: Any) -> tuple[Curve, Mapping[str, str]]:
        """The curve of the key and its public half as a JWK."""
        key = self._found(session, pkcs11, pkcs11.ObjectClass.PUBLIC_KEY)
        curve = curves.of_parameters(bytes(key[pkcs11.Attribute.EC_PARAMS]))
        public = None if curve is None else curve.jwk(bytes(key[pkcs11.Attribute.EC_POINT]))
        if curve is None or public is None:
            raise self._no(
                "anchor.module_kind", N_("密码模块 %(token)s 中的密钥 %(label)s 不是 Ed25519、P-256 或 P-384")
            )
        return curve, public

    def _found(self, session: Any, pkcs11: Any, kind: Any) -> Any:
        wanted = {pkcs11.Attribute.CLASS: kind, pkcs11.Attribute.LABEL: self.place.label}
        found = list(session.get_objects(wanted))
        if len(found) > 1:
            raise self._no("anchor.module_keys", N_("密码模块 %(token)s 中有几个叫 %(label)s 的密钥"))
        if not found:
            raise self._no("anchor.module_no_key", N_("密码模块 %(token)s 中没有成对的密钥 %(label)s"))
        return found[0]

    @contextmanager
    def _session(self) -> Iterator[tuple[Any, Any]]:
        """A session with the token, logged in; and the library that speaks to it."""
        pkcs11, where = self._library, self.place
        try:
            tried = (str(where.pin), where.pin.stat().st_mtime_ns)
            pin = where.pin.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._no("anchor.module_pin_file", N_("读不了 PIN 文件 %(file)s：%(why)s"), why=str(error)) from None
        if tried in _refused:
            raise self._no("anchor.module_pin", PIN_REFUSED)
        try:
            token = pkcs11.lib(str(where.module)).get_token(token_label=where.token)
            if token.flags & (pkcs11.TokenFlag.USER_PIN_FINAL_TRY | pkcs11.TokenFlag.USER_PIN_LOCKED):
                raise self._no("anchor.module_last_try", LAST_TRY)
            with token.open(user_pin=pin) as session:
                yield session, pkcs11
        except pkcs11.exceptions.NoSuchToken:
            raise self._no("anchor.module_no_token", N_("密码模块 %(module)s 中没有令牌 %(token)s")) from None
        except (pkcs11.exceptions.PinIncorrect, pkcs11.exceptions.PinLocked, pkcs11.exceptions.PinLenRange):
            _refused.add(tried)
            raise self._no("anchor.module_pin", PIN_REFUSED) from None
        except (pkcs11.exceptions.PKCS11Error, RuntimeError, OSError) as error:
            why = str(error) or type(error).__name__
            raise self._no("anchor.module", N_("密码模块 %(module)s 不可用：%(why)s"), why=why) from None

    @cached_property
    def _library(self) -> Any:
        try:
            import pkcs11
            import pkcs11.exceptions
        except ImportError:
            raise Invalid("anchor.module_library", N_("使用密码模块须安装 guanjia[hsm]（python-pkcs11）")) from None
        return pkcs11

    def _no(self, code: str, sentence: str, **more: str) -> Refused:
        where = self.place
        told = {"module": str(where.module), "token": where.token, "label": where.label, "file": str(where.pin), **more}
        return Invalid(code, sentence, **told)


LAST_TRY = N_("令牌 %(token)s 的 PIN 已锁死或只剩一次可试，本系统不再尝试；请先用密码模块自己的工具登录一次")
PIN_REFUSED = N_("令牌 %(token)s 不接受 %(file)s 中的 PIN；改过该文件前不再尝试，以免锁死令牌")

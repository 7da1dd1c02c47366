"""The encrypted store: secrets that a city has no better place for, sealed with a key that never lies in the book.

The key comes from outside (``GUANJIA_SECRETS_KEY``): one or several, newest first, split by commas. What was sealed with an
older one is opened with it and sealed anew with the newest when it is next kept. Fernet (AES-128-CBC with HMAC-SHA256) of
the library ``cryptography``.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.base import Base
from quota.errors import N_, Invalid, NotFound, stated

if TYPE_CHECKING:
    from quota.transactions import Tx

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
LONGEST = 8192


class SealedSecret(Base):
    """口令: sealed; ``generation`` counts how often it was changed."""

    __tablename__ = "sealed_secrets"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    sealed: Mapped[str] = mapped_column(Text)
    generation: Mapped[int] = mapped_column(default=1)
    changed_by: Mapped[str] = mapped_column(String(64))
    changed_at: Mapped[datetime]


def new_key() -> str:
    """A key to be kept outside."""
    return Fernet.generate_key().decode()


def keys(text: str) -> MultiFernet:
    """What ``GUANJIA_SECRETS_KEY`` holds. Raises Invalid for none, and for what is no key."""
    parts = [one.strip() for one in text.split(",") if one.strip()]
    if not parts:
        raise Invalid("secret.no_key", N_("没有设置 GUANJIA_SECRETS_KEY，无法打开加密存储；也可以改用文件或环境变量"))
    try:
        return MultiFernet([Fernet(one) for one in parts])
    except ValueError:
        raise Invalid("secret.bad_key", N_("GUANJIA_SECRETS_KEY 不是密钥(32 字节,base64)")) from None


def seal(secret: str, key: str) -> str:
    """``secret`` sealed with the newest of the keys, to be kept in a row of its own."""
    return keys(key).encrypt(secret.encode()).decode()


def unseal(sealed: str, key: str) -> str | None:
    """What was sealed; None where none of the keys opens it."""
    try:
        return keys(key).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None


def keep(tx: Tx, name: str, secret: str, key: str) -> str:
    """Seal ``secret`` under ``name``, in place of what was there; the reference to it."""
    tx.actor.must_be(Role.AUTHORITY, Role.SECADMIN, Role.SYSTEM)
    if not _NAME.fullmatch(name):
        raise Invalid("secret.name", N_("名称由字母、数字、点、横线组成,至多 64 个字符"), field="name")
    stated(secret, "secret", code="secret.empty_given", message=N_("请填写口令"))
    if len(secret) > LONGEST:
        raise Invalid("secret.long", N_("口令过长"), field="secret")
    sealed = seal(secret, key)
    row = tx.get(SealedSecret, name, with_for_update=True)
    if row is None:
        row = SealedSecret(name=name, sealed=sealed, generation=1, changed_by=tx.actor.login, changed_at=tx.now)
        tx.add(row)
    else:
        row.sealed, row.changed_by, row.changed_at = sealed, tx.actor.login, tx.now
        row.generation += 1
    tx.flush()
    tx.audit("secret.keep", f"secret:{name}", after={"name": name, "generation": row.generation})
    return f"store:{name}"


def reveal(tx: Tx, name: str, key: str) -> str:
    """The secret of that name. Raises NotFound; Invalid where none of the keys opens it."""
    row = tx.get(SealedSecret, name)
    if row is None:
        raise NotFound("secret.none", N_("加密存储中没有名为 %(name)s 的口令"), name=name)
    secret = unseal(row.sealed, key)
    if secret is None:
        raise Invalid("secret.sealed", N_("口令 %(name)s 不是用现在的密钥加密的"), name=name)
    return secret

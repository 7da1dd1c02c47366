"""The encrypted store: nothing in clear in the book or its trail, keys rotated, what can't be opened said."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from sqlalchemy import select

from quota import vault
from quota.actors import Actor, Role
from quota.audit import AuditRecord
from quota.errors import Invalid, NotAllowed, NotFound

CHIEF = Actor("c", "主管", Role.AUTHORITY)
OLD, NEW = (urlsafe_b64encode(bytes([byte]) * 32).decode() for byte in (1, 2))


def test_what_is_kept_can_be_read_with_the_key_alone(book) -> None:
    with book.transaction(CHIEF) as tx:
        assert vault.keep(tx, "gov-x86.password", "hunter2", OLD) == "store:gov-x86.password"
    with book.reading() as tx:
        row = tx.scalars(select(vault.SealedSecret)).one()
        trail = [str(one.content()) for one in tx.scalars(select(AuditRecord))]
        assert "hunter2" not in row.sealed
        assert "secret.keep" in trail[-1]
        assert not any("hunter2" in one for one in trail)
        assert vault.reveal(tx, row.name, OLD) == "hunter2"
        assert vault.reveal(tx, row.name, f"{NEW},{OLD}") == "hunter2"  # the newest first; the old one opens it still
        with pytest.raises(Invalid, match="不是用现在的密钥"):
            vault.reveal(tx, row.name, NEW)
        with pytest.raises(Invalid, match="没有设置"):
            vault.reveal(tx, row.name, "")
        with pytest.raises(NotFound):
            vault.reveal(tx, "other", OLD)
    with book.transaction(CHIEF) as tx:
        vault.keep(tx, "gov-x86.password", "changed", f"{NEW},{OLD}")
    with book.reading() as tx:
        assert vault.reveal(tx, "gov-x86.password", NEW) == "changed"
        assert tx.get_one(vault.SealedSecret, "gov-x86.password").generation == 2


@pytest.mark.parametrize(
    ("name", "secret", "key", "code"),
    [
        ("a b", "x", OLD, "secret.name"),
        ("", "x", OLD, "secret.name"),
        ("a", " ", OLD, "secret.empty_given"),
        ("a", "x" * 9000, OLD, "secret.long"),
        ("a", "x", "", "secret.no_key"),
        ("a", "x", "short", "secret.bad_key"),
    ],
)
def test_what_makes_no_sense_is_refused(book, name, secret, key, code) -> None:
    with book.transaction(CHIEF) as tx, pytest.raises(Invalid, match=code):
        vault.keep(tx, name, secret, key)


def test_only_who_answers_for_it_keeps_one(book) -> None:
    with book.transaction(Actor("t", "单位", Role.TENANT)) as tx, pytest.raises(NotAllowed):
        vault.keep(tx, "a", "x", OLD)

"""A small city, for tests of the console.

departments  A01 市教育局, A02 市水务局      companies  甲云
people       <role>1 and <role>2 of every role; tenant1 in A01, tenant2 in A02; provider1 and provider2 of 甲云
"""

from __future__ import annotations

from dataclasses import dataclass

from console import accounts
from quota.actors import Role
from quota.agencies import Department, register
from quota.db import Book
from quota.pools import CloudProvider


@dataclass
class City:
    """Who is there: login → first password."""

    passwords: dict[str, str]
    departments: list[Department]
    provider: CloudProvider


def found_city(book: Book) -> City:
    passwords = {}
    with book.transaction() as tx:
        departments = [register(tx, "A01", "市教育局"), register(tx, "A02", "市水务局")]
        provider = CloudProvider(code="jia", name="甲云")
        tx.add(provider)
        tx.flush()
        for role in Role:
            if role is Role.SYSTEM:
                continue
            for number in (1, 2):
                who, first = accounts.enrol(
                    tx,
                    f"{role.value}{number}",
                    f"{role.value}甲乙"[: len(role.value) + number],
                    role,
                    department=departments[number - 1] if role is Role.TENANT else None,
                    provider=provider if role is Role.PROVIDER else None,
                    granted=True,
                    must_change=False,
                )
                passwords[who.login] = first
    return City(passwords, departments, provider)

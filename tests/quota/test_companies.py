"""Companies: what may be said of them, and how one ends."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import select

from quota import audit
from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.directory import CloudProvider, Pool, companies, pools
from quota.directory.companies import Contact
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from quota.ledger import capacities, entries
from quota.units import VCPU, Arch, Commodity
from tests.city import City

RIGHT = "91110000600037341L"
CHIEF = Actor("chief", "chief", Role.AUTHORITY)
AHEAD = {"contract_from": date(2026, 1, 1), "contract_until": date(2028, 12, 31)}


def test_a_company_is_registered_amended_ended_and_resumed(book: Book) -> None:
    with book.transaction(CHIEF) as tx:
        one = companies.register(
            tx,
            " jia ",
            "甲云",
            {"credit_code": " 9111 0000 6000 37341l", **AHEAD, "contacts": [Contact("张三", phone="1")]},
        )
        assert (one.code, one.credit_code) == ("jia", RIGHT)
        assert companies.contacts(one) == [Contact("张三", "", "1", "")]
        companies.amend(tx, one, {"name": "甲云公司", "credit_code": RIGHT})
        companies.end(tx, one, date(2027, 3, 1), "合同到期")
        assert (one.active, one.ended_on) == (False, date(2027, 3, 1))
        with pytest.raises(WrongState, match=r"company\.ended"):
            companies.end(tx, one, date(2027, 3, 1), "再来")
        with pytest.raises(Invalid, match=r"provider\.closed"):
            pools.register(tx, "p", "池", one.id, Arch.X86_64, "外网", adapter="files", options={})
        companies.resume(tx, one, "续签")
        assert (one.active, one.ended_on) == (True, None)
    with book.reading() as tx:
        acts = [
            (one.action, one.reason)
            for one in tx.scalars(select(audit.AuditRecord).where(audit.AuditRecord.subject == "provider:1"))
        ]
        assert acts == [
            ("company.register", ""), ("company.amend", ""), ("company.end", "合同到期"), ("company.resume", "续签"),
        ]  # fmt: skip
        assert list(audit.check(tx)) == []


@pytest.mark.parametrize(
    ("facts", "code", "field"),
    [
        ({"credit_code": "9111000060003734"}, "company.credit_length", "credit_code"),
        ({"credit_code": "91110000600037341M"}, "company.credit_check", "credit_code"),
        ({"credit_code": "91110000600037341I"}, "company.credit_format", "credit_code"),
        ({"credit_code": "A1110000600037341L"}, "company.credit_format", "credit_code"),
        ({"name": "  "}, "company.empty", "name"),
        ({"name": "云" * 129}, "company.long", "name"),
        ({"contract_number": "1" * 65}, "company.long", "contract_number"),
        ({"contract_from": date(2027, 1, 1), "contract_until": date(2026, 1, 1)}, "company.term", "contract_until"),
        ({"contacts": [Contact("", phone="1")]}, "company.contact", "contacts"),
        ({"contacts": [Contact("张" * 65)]}, "company.long", "contacts"),
        ({"contacts": [Contact(str(number)) for number in range(11)]}, "company.contacts", "contacts"),
        ({"colour": "red"}, "company.field", None),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_place(book: Book, facts, code, field) -> None:
    with book.transaction(CHIEF) as tx:
        one = companies.register(tx, "jia", "甲云")
        with pytest.raises(Invalid) as refused:
            companies.amend(tx, one, facts)
        assert (refused.value.code, refused.value.params.get("field")) == (code, field)
        with pytest.raises(Invalid):
            companies.register(tx, "yi", "乙云", facts)
        assert tx.scalars(select(CloudProvider.code)).all() == ["jia"]


def test_codes_and_credit_codes_are_one_companys(book: Book) -> None:
    with book.transaction(CHIEF) as tx:
        companies.register(tx, "jia", "甲云", {"credit_code": RIGHT})
        with pytest.raises(Conflict, match=r"company\.taken"):
            companies.register(tx, "jia", "乙云")
        with pytest.raises(Conflict, match=r"company\.credit_taken"):
            companies.register(tx, "yi", "乙云", {"credit_code": RIGHT})
        companies.register(tx, "bing", "丙云", {"credit_code": ""})
        companies.register(tx, "ding", "丁云")  # that two have none is no conflict


def test_only_the_authority_keeps_companies(book: Book) -> None:
    for role in Role:
        if role not in (Role.AUTHORITY, Role.SYSTEM):
            with book.transaction(Actor("x", "x", role)) as tx, pytest.raises(NotAllowed):
                companies.register(tx, "jia", "甲云")


def test_contacts_are_written_a_line_each() -> None:
    text = "张三,商务,020-1,a@example.com\n李四\n王五,,020-2"
    found = companies.contacts_in(text.replace(",", "，", 2))
    assert found[0] == Contact("张三", "商务", "020-1", "a@example.com")
    assert companies.contacts_text(found) == text.replace(",", "，")
    with pytest.raises(Invalid) as refused:
        companies.contacts_in("张三\n李四,a,b,c,d")
    assert refused.value.params["line"] == 2


def test_a_company_ends_after_its_pools_and_a_pool_after_its_quota(town: City, book: Book) -> None:
    cpu = Commodity(VCPU, Arch.AARCH64)
    with book.transaction(steward()) as tx:
        one = tx.get_one(CloudProvider, 1)
        row = pools.register(tx, "spare", "备用池", one.id, Arch.AARCH64, "外网", adapter="files", options={})
        capacities.equip(tx, row, VCPU, 8, key="spare")
        entries.grant(tx, row.id, town.department, {cpu: 4}, key="given")
        with pytest.raises(WrongState, match=r"pool\.given"):
            capacities.close(tx, row, "到期")
        entries.reclaim(tx, row.id, town.department, {cpu: 4}, key="back", source=entries.Holder.GRANTED)
        with pytest.raises(Invalid, match=r"reason\.missing"):
            capacities.close(tx, row, " ")
        capacities.close(tx, row, "到期")
        assert not row.active
        with pytest.raises(WrongState, match=r"pool\.closed"):
            capacities.close(tx, row, "再来")
        with pytest.raises(WrongState) as refused:
            companies.end(tx, one, date(2027, 1, 1), "到期")
        names = tx.scalars(select(Pool.name).where(Pool.active, Pool.provider_id == one.id).order_by(Pool.name)).all()
        assert refused.value.params["pools"] == "、".join(names)
        assert row.name not in names
        assert entries.conserved(tx)

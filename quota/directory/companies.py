"""What is said of the companies that operate the clouds: registered, amended, ended; never deleted, since orders, bills and
scores name them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from stdnum.cn import uscc
from stdnum.exceptions import InvalidChecksum, InvalidLength, ValidationError

from quota.actors import Role
from quota.directory.pools import CloudProvider, Pool
from quota.errors import N_, Conflict, Invalid, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

FIELDS = {
    "name": N_("名称"),
    "credit_code": N_("统一社会信用代码"),
    "contract_number": N_("合同编号"),
    "contract_from": N_("合同起始日"),
    "contract_until": N_("合同截止日"),
    "contacts": N_("联系人"),
}
"""What may be said of a company beside its code: field → label."""

LENGTHS = {"code": 32, "name": 128, "contract_number": 64}
MOST_CONTACTS = 10
PARTED = re.compile(r"[,，\t]")


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody at the company, and for what: business, operations, out of hours."""

    name: str
    duty: str = ""
    phone: str = ""
    email: str = ""


CONTACT_LENGTHS = {"name": 64, "duty": 64, "phone": 32, "email": 254}


def credit_code(text: str) -> str | None:
    """``text`` as a unified social credit code (GB 32100): 18 characters, the last a check digit; None for an empty one.

    Raises Invalid saying what is wrong with it: its length, a character, or the check digit.
    """
    if not text.strip():
        return None
    try:
        return str(uscc.validate(text))
    except InvalidLength:
        raise Invalid("company.credit_length", N_("统一社会信用代码须为 18 位"), field="credit_code") from None
    except InvalidChecksum:
        raise Invalid(
            "company.credit_check", N_("统一社会信用代码的校验位不对,请核对是否抄错"), field="credit_code"
        ) from None
    except ValidationError:
        raise Invalid(
            "company.credit_format",
            N_("统一社会信用代码由数字和大写字母组成,不含 I、O、Z、S、V,前 8 位为数字"),
            field="credit_code",
        ) from None


def contacts(company: CloudProvider) -> list[Contact]:
    """The company's contacts, as kept."""
    return [Contact(**found) for found in company.contacts or []]


def contacts_in(text: str) -> list[Contact]:
    """Contacts as people write them: a line each, name, duty, telephone and e-mail parted by commas.

    Raises Invalid naming the line that has more parts than that.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        parts = [part.strip() for part in PARTED.split(line.strip())]
        if len(parts) > len(CONTACT_LENGTHS):
            raise Invalid(
                "company.contact_parts",
                N_("联系人第 %(line)s 行应为:姓名,职责,电话,邮箱"),
                line=number,
                field="contacts",
            )
        found.append(Contact(*parts))
    return found


def contacts_text(many: Iterable[Contact]) -> str:
    """Contacts as ``contacts_in`` reads them."""
    return "\n".join("，".join((one.name, one.duty, one.phone, one.email)).rstrip("，") for one in many)


def register(tx: Tx, code: str, name: str, facts: Mapping[str, Any] | None = None) -> CloudProvider:
    """Enter a company. ``facts`` are FIELDS (contacts: list of Contact). The right of the authority.

    Raises Invalid naming the field, Conflict for a code or a credit code that is taken.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    code = _within("code", code)
    if not code:
        raise Invalid("company.empty", N_("公司的代码和名称都不能为空"), field="code")
    if tx.scalar(select(CloudProvider.id).where(CloudProvider.code == code)) is not None:
        raise Conflict("company.taken", N_("公司代码 %(code)s 已被使用"), code=code, field="code")
    checked = _checked(tx, None, {"name": name, **(facts or {})})
    company = CloudProvider(code=code, active=True, **checked)
    tx.add(company)
    tx.flush()
    tx.audit("company.register", _subject(company), after={"code": code, **checked})
    return company


def amend(tx: Tx, company: CloudProvider, facts: Mapping[str, Any]) -> CloudProvider:
    """Change what is said of a company; only what differs is written and audited. The right of the authority."""
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    changed = {name: value for name, value in _checked(tx, company, facts).items() if getattr(company, name) != value}
    if changed:
        before = {name: getattr(company, name) for name in changed}
        for name, value in changed.items():
            setattr(company, name, value)
        tx.flush()
        tx.audit("company.amend", _subject(company), before=before, after=changed)
    return company


def end(tx: Tx, company: CloudProvider, on: date, reason: str) -> None:
    """Say that a company operates nothing here since ``on``: it gets no new pools and no new accounts; what it still owes
    (orders, appeals, settlement) goes on. The right of the authority.

    Raises Invalid without a reason, WrongState where it has ended or still operates a pool.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    reason = stated(reason)
    if not company.active:
        raise WrongState("company.ended", N_("%(name)s已经终止"), name=company.name)
    if company.contract_from and on < company.contract_from:
        raise Invalid("company.end_early", N_("终止日期不能早于合同起始日"), field="on")
    names = tx.scalars(select(Pool.name).where(Pool.provider_id == company.id, Pool.active).order_by(Pool.name)).all()
    if names:
        raise WrongState(
            "company.operates", N_("%(name)s仍在运营%(pools)s;请先停用"), name=company.name, pools="、".join(names)
        )
    company.active, company.ended_on = False, on
    tx.flush()
    tx.audit(
        "company.end", _subject(company), before={"active": True}, after={"active": False, "on": on}, reason=reason
    )


def resume(tx: Tx, company: CloudProvider, reason: str) -> None:
    """Take back that a company has ended: a new contract, or a mistake. The right of the authority."""
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    reason = stated(reason)
    if company.active:
        raise WrongState("company.active", N_("%(name)s没有终止"), name=company.name)
    before = {"active": False, "on": company.ended_on}
    company.active, company.ended_on = True, None
    tx.flush()
    tx.audit("company.resume", _subject(company), before=before, after={"active": True}, reason=reason)


def _subject(company: CloudProvider) -> str:
    return f"provider:{company.id}"


def _within(field: str, text: str) -> str:
    text = text.strip()
    if len(text) > LENGTHS[field]:
        raise Invalid("company.long", N_("最多 %(most)s 个字符"), most=LENGTHS[field], field=field)
    return text


def _checked(tx: Tx, company: CloudProvider | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(facts) - set(FIELDS)
    if unknown:
        raise Invalid("company.field", N_("没有这个字段:%(name)s"), name=", ".join(sorted(unknown)))
    found = dict(facts)
    for name in ("name", "contract_number"):
        if name in found:
            found[name] = _within(name, found[name])
    if "name" in found and not found["name"]:
        raise Invalid("company.empty", N_("公司的代码和名称都不能为空"), field="name")
    if "credit_code" in found:
        found["credit_code"] = credit_code(found["credit_code"] or "")
        others = select(CloudProvider.name).where(CloudProvider.credit_code == found["credit_code"])
        taken = tx.scalar(others if company is None else others.where(CloudProvider.id != company.id))
        if found["credit_code"] and taken is not None:
            raise Conflict("company.credit_taken", N_("%(name)s已登记这个代码"), name=taken, field="credit_code")
    begins = found.get("contract_from", company.contract_from if company else None)
    ends = found.get("contract_until", company.contract_until if company else None)
    if begins and ends and ends < begins:
        raise Invalid("company.term", N_("合同截止日不能早于起始日"), field="contract_until")
    if "contacts" in found:
        found["contacts"] = [asdict(each) for each in _named(found["contacts"])]
    return found


def _named(given: Iterable[Contact]) -> list[Contact]:
    """The contacts of whom anything is said. Raises Invalid for one without a name, or with more than is kept."""
    kept = []
    for each in given:
        said = {name: value.strip() for name, value in asdict(each).items()}
        if not any(said.values()):
            continue
        if not said["name"]:
            raise Invalid("company.contact", N_("请填写联系人的姓名"), field="contacts")
        for name, most in CONTACT_LENGTHS.items():
            if len(said[name]) > most:
                raise Invalid("company.long", N_("最多 %(most)s 个字符"), most=most, field="contacts")
        kept.append(Contact(**said))
    if len(kept) > MOST_CONTACTS:
        raise Invalid("company.contacts", N_("最多 %(most)s 位联系人"), most=MOST_CONTACTS, field="contacts")
    return kept

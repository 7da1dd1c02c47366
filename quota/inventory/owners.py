"""Owners: whose a resource is that no tag of the book's departments names; suggested by what it is called, decided by the
supervisor or, where it was asked, by the department that says that it is its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, func, or_, select

from quota.actors import Role
from quota.directory import Department, System, departments
from quota.errors import N_, Invalid, stated
from quota.inventory.inquiries import GivenAnswer, InquiryAnswer, InquiryItem, InquiryPurpose, register
from quota.inventory.resources import Resource, reassign
from quota.inventory.services import ResourceState

if TYPE_CHECKING:
    from quota.db import Tx

WORD = re.compile(r"[a-z0-9]+|[\u4e00-\u9fff]+")
SHORTEST = 2
"""Characters of a code or name that may suggest something: a single one is in everything."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A department that a resource may belong to, and the word of the resource that says so."""

    department: Department
    word: str


def ownerless() -> ColumnElement[bool]:
    """What is there, and no department's."""
    return and_(
        Resource.department_id.is_(None), Resource.gone_at.is_(None), Resource.state != ResourceState.DELETED.value
    )


def suggest(tx: Tx, resources: Iterable[Resource]) -> Mapping[int, Suggestion]:
    """Resource id → whose it seems to be, by the codes and names of departments and their systems in what it is called and
    tagged with; nothing where two departments are named equally well."""
    return named(tx, {resource.id: _said(resource) for resource in resources})


def named(tx: Tx, texts: Mapping[int, Sequence[str]]) -> Mapping[int, Suggestion]:
    """The same of anything: number → the department that its texts name."""
    spoken = "\n".join(
        sorted({form for said in texts.values() for text in said if text for form in (text, text.lower())})
    )
    signs: list[tuple[str, Department]] = [
        (sign.lower(), one)
        for one in tx.scalars(select(Department).where(Department.active, _in(spoken, Department)))
        for sign in (one.code, one.name)
        if len(sign) >= SHORTEST
    ]
    systems = select(System.code, System.name, Department).join(Department, Department.id == System.department_id)
    for code, name, owner in tx.execute(systems.where(Department.active, _in(spoken, System))):
        signs += [(sign.lower(), owner) for sign in (code, name) if len(sign) >= SHORTEST]
    return {
        number: found
        for number, said in texts.items()
        if (found := _best([text.lower() for text in said if text], signs)) is not None
    }


def _in(said: str, table: type[Department] | type[System]) -> ColumnElement[bool]:
    """Whether the code or the name of a row stands anywhere in what was said; looked for where the rows lie."""
    places = (func.replace(said, func.lower(each), "") != said for each in (table.code, table.name))
    return or_(*places, *(func.replace(said, each, "") != said for each in (table.code, table.name)))


def _said(resource: Resource) -> Sequence[str]:
    project = [resource.project.name, *resource.project.tags] if resource.project else []
    texts = (resource.department_code, resource.system_code, resource.name, *resource.tags.values(), *project)
    return [text for text in texts if text]


def _best(texts: Sequence[str], signs: Sequence[tuple[str, Department]]) -> Suggestion | None:
    """The department of the longest sign that stands in the texts, as a whole word rather than inside one."""
    fits: dict[int, tuple[bool, int, str, Department]] = {}
    for text in texts:
        words = set(WORD.findall(text))
        for sign, department in signs:
            whole = sign == text or sign in words
            if whole or (len(sign) > SHORTEST and sign in text):
                fit = (whole, len(sign), sign, department)
                if department.id not in fits or fit[:2] > fits[department.id][:2]:
                    fits[department.id] = fit
    ranked = sorted(fits.values(), key=lambda fit: fit[:2], reverse=True)
    if not ranked or (len(ranked) > 1 and ranked[0][:2] == ranked[1][:2]):
        return None
    return Suggestion(ranked[0][3], ranked[0][2])


def assign(tx: Tx, resource_ids: Iterable[int], department_id: int, reason: str) -> int:
    """These resources are the department's from now on; nothing is booked by it. Returns how many.

    Raises Invalid without a reason, or for a resource that has an owner already, is gone, or is not known; WrongState for a
    department that has ended.
    """
    tx.actor.must_be(Role.SUPERVISOR)
    reason = stated(reason)
    department = departments.department(tx, department_id)
    departments.must_be_open(department, "department")
    wanted = sorted(set(resource_ids))
    if not wanted:
        raise Invalid("owner.nothing", N_("请选择资源"), field="id")
    _must_be_ownerless(tx, wanted)
    reassign(tx, wanted, department.id, source="owner.assign")
    tx.audit(
        "owner.assign", f"department:{department.id}", reason=reason, after={"resources": len(wanted), "ids": wanted[:1000]}
    )  # fmt: skip
    return len(wanted)


def _must_be_ownerless(tx: Tx, wanted: Sequence[int]) -> None:
    """Lock these resources. Raises Invalid for the first that has an owner, is gone, or is not known."""
    known = set(tx.scalars(select(Resource.id).where(ownerless(), Resource.id.in_(wanted)).with_for_update()))
    strange = next((one for one in wanted if one not in known), None)
    if strange is not None:
        named = tx.get(Resource, strange)
        raise Invalid(
            "owner.taken",
            N_("资源 %(name)s 已有使用单位，或已不存在"),
            name=named.called if named is not None else strange,
            field="id",
        )


def _may_be_asked(_tx: Tx, resource: Resource, _department_id: int) -> None:
    if resource.department_id is not None:
        raise Invalid(
            "owner.taken", N_("资源 %(name)s 已有使用单位，或已不存在"), name=resource.called, field="id"
        )  # fmt: skip


def _claim(tx: Tx, item: InquiryItem, _given: GivenAnswer) -> str:
    """The department says that it is its own: it is, from now on. Nothing is booked by it."""
    _must_be_ownerless(tx, [item.resource_id])
    department = item.inquiry.department
    departments.must_be_open(department, "department")
    reassign(tx, [item.resource_id], department.id, source=item.inquiry.subject)
    return f"department:{department.id}"


OWNER = register(
    InquiryPurpose(
        code="owner",
        label=N_("询问归属"),
        says=N_("清单里有下列资源没有注明使用单位，请逐项说明是不是贵单位的。答“是”的归入贵单位，随后凭文件接管。"),
        answers=(
            InquiryAnswer("yes", N_("是本单位的"), _claim),
            InquiryAnswer("no", N_("不是本单位的")),
        ),
        check=_may_be_asked,
        over=lambda _today: Resource.department_id.is_not(None),
    )
)

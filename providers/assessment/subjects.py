"""Who is assessed. Pure: a type and a number, whatever table they stand in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quota.errors import N_


class SubjectType(StrEnum):
    COMPANY = "company"
    DEPARTMENT = "department"
    SYSTEM = "system"
    STEWARD = "steward"


SUBJECT_LABELS = {
    SubjectType.COMPANY: N_("云服务商"),
    SubjectType.DEPARTMENT: N_("使用单位"),
    SubjectType.SYSTEM: N_("信息系统"),
    SubjectType.STEWARD: N_("运营监督方"),
}


@dataclass(frozen=True, slots=True)
class CardSubject:
    """Whom a card is about; ``id`` counts within its type (a company: ``cloud_providers.id``). There is one steward: 0."""

    type: SubjectType
    id: int


STEWARD = CardSubject(SubjectType.STEWARD, 0)


def company(provider_id: int) -> CardSubject:
    return CardSubject(SubjectType.COMPANY, provider_id)


def department(department_id: int) -> CardSubject:
    return CardSubject(SubjectType.DEPARTMENT, department_id)


def system(system_id: int) -> CardSubject:
    return CardSubject(SubjectType.SYSTEM, system_id)

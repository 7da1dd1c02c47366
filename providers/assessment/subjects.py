"""Who is assessed. Pure: a type and a number, whatever table they stand in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quota.errors import N_


class SubjectType(StrEnum):
    COMPANY = "company"
    DEPARTMENT = "department"
    STEWARD = "steward"


SUBJECT_LABELS = {
    SubjectType.COMPANY: N_("云服务商"),
    SubjectType.DEPARTMENT: N_("使用单位"),
    SubjectType.STEWARD: N_("运营监督方"),
}


@dataclass(frozen=True, slots=True)
class CardSubject:
    """Whom a card is about; ``id`` counts within its type (a company: ``cloud_providers.id``)."""

    type: SubjectType
    id: int


def company(provider_id: int) -> CardSubject:
    return CardSubject(SubjectType.COMPANY, provider_id)

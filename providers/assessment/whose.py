"""Whose a row is: a company's, a department's, a system's, or, where none of them is named, the steward's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, and_, false, or_, select, true
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, relationship

from providers.assessment.subjects import STEWARD, SUBJECT_LABELS, CardSubject, SubjectType
from quota.actors import Actor, Role
from quota.directory import CloudProvider, Department, System, subtree
from quota.errors import N_, Invalid, NotFound
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

MODELS: dict[SubjectType, Any] = {
    SubjectType.COMPANY: CloudProvider, SubjectType.DEPARTMENT: Department, SubjectType.SYSTEM: System,
}  # fmt: skip
COLUMNS = {
    SubjectType.COMPANY: "provider_id", SubjectType.DEPARTMENT: "department_id", SubjectType.SYSTEM: "system_id",
}  # fmt: skip


class OfSubject:
    """The columns of a table whose rows are each about one subject."""

    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"))
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"))

    @declared_attr
    def provider(cls) -> Mapped[CloudProvider | None]:  # noqa: N805 - of the class
        return relationship(CloudProvider)

    @declared_attr
    def department(cls) -> Mapped[Department | None]:  # noqa: N805
        return relationship(Department)

    @declared_attr
    def system(cls) -> Mapped[System | None]:  # noqa: N805
        return relationship(System)

    @property
    def subject(self) -> CardSubject:
        """Whom it is about."""
        return subject_of(self.provider_id, self.department_id, self.system_id)

    @property
    def whose(self) -> str:
        """The name of whom it is about; of the steward, a word to be translated."""
        found = self.provider or self.department or self.system
        return found.name if found is not None else SUBJECT_LABELS[SubjectType.STEWARD]

    @property
    def whose_code(self) -> str:
        found = self.provider or self.department or self.system
        return found.code if found is not None else SubjectType.STEWARD.value


def subject_of(*ids: int | None) -> CardSubject:
    """Whom a row with these columns, in the order of ``COLUMNS``, is about."""
    return next(
        (CardSubject(kind, number) for kind, number in zip(COLUMNS, ids, strict=True) if number is not None), STEWARD
    )


def one_at_most() -> CheckConstraint:
    """No row is about two."""
    return CheckConstraint(
        "provider_id IS NULL AND department_id IS NULL OR provider_id IS NULL AND system_id IS NULL "
        "OR department_id IS NULL AND system_id IS NULL",
        name="subject",
    )


def columns_of(subject: CardSubject) -> dict[str, int]:
    """What the columns of a row about ``subject`` say."""
    return {} if subject.type is SubjectType.STEWARD else {COLUMNS[subject.type]: subject.id}


def told(subject: CardSubject) -> dict[str, int]:
    """What the trail is told of whom something is about."""
    return {"provider": subject.id} if subject.type is SubjectType.COMPANY else columns_of(subject)


def about(model: Any, subject: CardSubject) -> ColumnElement[bool]:
    """Rows of ``model`` about one subject."""
    if subject.type is SubjectType.STEWARD:
        return of_type(model, subject.type)
    found: ColumnElement[bool] = getattr(model, COLUMNS[subject.type]) == subject.id
    return found


def of_type(model: Any, kind: SubjectType) -> ColumnElement[bool]:
    """Rows of ``model`` about any subject of one type."""
    if kind is SubjectType.STEWARD:
        return and_(*(getattr(model, column).is_(None) for column in COLUMNS.values()))
    found: ColumnElement[bool] = getattr(model, COLUMNS[kind]).is_not(None)
    return found


def resources(tx: Tx, subject: CardSubject) -> ColumnElement[bool]:
    """Resources of a system, or of a department and what lies below it."""
    if subject.type is SubjectType.SYSTEM:
        return Resource.system_id == subject.id
    return Resource.department_id.in_(subtree(tx, subject.id))


def seen_by(tx: Tx, model: Any, actor: Actor) -> ColumnElement[bool]:
    """Rows of ``model`` that ``actor`` may see: a company its own, a department its own, those of what lies under it and of
    their systems; the steward, the authority and the auditor all."""
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        own: ColumnElement[bool] = model.provider_id == actor.provider_id
        return own
    if actor.role is Role.TENANT and actor.department_id is not None:
        within = subtree(tx, actor.department_id)
        systems = select(System.id).where(System.department_id.in_(within))
        return or_(model.department_id.in_(within), model.system_id.in_(systems))
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def speaks_for(tx: Tx, actor: Actor, subject: CardSubject) -> bool:
    """Whether ``actor`` acts for ``subject``: a company's people for it, a department's for it, for those under it and for
    their systems, the supervisor for the steward."""
    if subject.type is SubjectType.STEWARD:
        return actor.role is Role.SUPERVISOR
    if subject.type is SubjectType.COMPANY:
        return actor.role is Role.PROVIDER and actor.provider_id == subject.id
    if actor.role is not Role.TENANT or actor.department_id is None:
        return False
    own = subtree(tx, actor.department_id)
    if subject.type is SubjectType.SYSTEM:
        return tx.scalar(select(System.department_id).where(System.id == subject.id)) in own
    return subject.id in own


def overseers(subject: CardSubject) -> tuple[Role, ...]:
    """Who rules on ``subject``: of the steward the authority alone, for nobody oversees himself."""
    return (Role.AUTHORITY,) if subject.type is SubjectType.STEWARD else (Role.SUPERVISOR, Role.AUTHORITY)


def by_code(tx: Tx, kind: SubjectType, code: str) -> CardSubject:
    """The department or the system of this code. Raises Invalid where there is none."""
    code = code.strip()
    model = MODELS[kind]
    found = tx.scalar(select(model.id).where(model.code == code))
    if found is None:
        raise Invalid("subject.code", N_("没有代码为“%(code)s”的被考核方"), code=code, field="code")
    return CardSubject(kind, found)


def called(tx: Tx, subject: CardSubject) -> str:
    """The name of a subject."""
    if subject.type is SubjectType.STEWARD:
        return SUBJECT_LABELS[subject.type]
    name: str = tx.get_one(MODELS[subject.type], subject.id).name
    return name


def hold(tx: Tx, subject: CardSubject) -> None:
    """One at a time for one subject, until the end of the transaction. Raises NotFound for one that is not there."""
    if subject.type is SubjectType.STEWARD:
        tx.alone("scorecard:steward")
        return
    model = MODELS[subject.type]
    if tx.scalar(select(model.id).where(model.id == subject.id).with_for_update()) is None:
        raise NotFound("subject.none", N_("没有编号为 %(id)s 的被考核方"), id=subject.id)

"""The file of a request: what was asked, line by line, and the steps on its path with who decided them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base
from quota.calendar import WorkingDays
from quota.directory import Department, Pool, System, catalog
from quota.errors import N_
from quota.inventory import Resource
from quota.requests.rules import STEP_LABELS, StepName, Unit
from quota.units import Amount, Arch, ClassCode, Commodity

FAR = datetime.max.replace(tzinfo=UTC)
PASSED = "passed"
"""The step in place of all signatures, of a request that a rule lets pass."""


class RequestState(StrEnum):
    DRAFT = "draft"
    IN_REVIEW = "in_review"
    SUPPLEMENT = "supplement"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    DELIVERING = "delivering"
    ACCEPTING = "accepting"
    DONE = "done"


STATE_LABELS = {
    RequestState.DRAFT: N_("草稿"),
    RequestState.IN_REVIEW: N_("待审"),
    RequestState.SUPPLEMENT: N_("待补正"),
    RequestState.APPROVED: N_("已通过"),
    RequestState.REJECTED: N_("已驳回"),
    RequestState.WITHDRAWN: N_("已撤回"),
    RequestState.DELIVERING: N_("交付中"),
    RequestState.ACCEPTING: N_("待验收"),
    RequestState.DONE: N_("已完成"),
}

OPEN = frozenset(
    {
        RequestState.IN_REVIEW,
        RequestState.SUPPLEMENT,
        RequestState.APPROVED,
        RequestState.DELIVERING,
        RequestState.ACCEPTING,
    }
)
"""Submitted and not yet at an end."""


class ChangeDirection(StrEnum):
    """Which way a request goes: rules speak of it, so codes are never changed."""

    GROW = "grow"
    SHRINK = "shrink"
    MIXED = "mixed"
    NONE = "none"


CHANGE_DIRECTIONS: dict[str, str] = {
    ChangeDirection.GROW: N_("扩容"),
    ChangeDirection.SHRINK: N_("缩容"),
    ChangeDirection.MIXED: N_("有增有减"),
    ChangeDirection.NONE: N_("不增不减"),
}


class Request(Base):
    """申请. ``turn`` is the role that must act next and ``due_at`` until when; both empty when nobody must."""

    __tablename__ = "requests"
    __table_args__ = (
        CheckConstraint("generation > 0 AND round > 0", name="counts"),
        Index("ix_requests_turn_due", "turn", "due_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(40), unique=True)  # SQ-2026-000123
    key: Mapped[str | None] = mapped_column(String(128), unique=True)  # a form sent twice is one request
    kind: Mapped[str] = mapped_column(String(16))  # the code of its request kind (declarations)
    state: Mapped[str] = mapped_column(String(16), index=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    resource_id: Mapped[int | None] = mapped_column(ForeignKey("resources.id"), index=True)
    extends_id: Mapped[int | None] = mapped_column(index=True)  # the request whose term shall be moved
    entry_id: Mapped[int | None] = mapped_column(index=True)  # the row of the register of its request kind
    entry_called: Mapped[str] = mapped_column(
        String(128), default="", server_default=""
    )  # as it was when it was written
    justification: Mapped[str] = mapped_column(Text, default="")
    use_until: Mapped[date | None]  # the term as it stands: an approved extension moves it
    fields: Mapped[dict[str, Any]] = mapped_column(default=dict)  # name → what was said; which, its request kind says
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what the rules saw when it was submitted
    generation: Mapped[int] = mapped_column(default=1)
    round: Mapped[int] = mapped_column(default=1)  # raised when a supplement asks for something else
    asked: Mapped[str] = mapped_column(String(64), default="")  # fingerprint of what the signatures are about
    turn: Mapped[str | None] = mapped_column(String(16))
    due_at: Mapped[datetime | None]
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    submitted_by: Mapped[str | None] = mapped_column(String(64))
    submitted_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    changed_by: Mapped[str] = mapped_column(String(64))
    changed_at: Mapped[datetime]

    department: Mapped[Department] = relationship()
    system: Mapped[System | None] = relationship()
    resource: Mapped[Resource | None] = relationship()
    pool: Mapped[Pool] = relationship()
    extends: Mapped[Request | None] = relationship(
        primaryjoin="foreign(Request.extends_id) == remote(Request.id)", viewonly=True
    )
    lines: Mapped[list[RequestLine]] = relationship(
        back_populates="request", order_by="RequestLine.position", cascade="all, delete-orphan"
    )
    steps: Mapped[list[RequestStep]] = relationship(
        back_populates="request", order_by="RequestStep.round, RequestStep.sequence"
    )

    @property
    def subject(self) -> str:
        return f"request:{self.id}"

    @property
    def path(self) -> list[RequestStep]:
        """The steps of the present round, in order."""
        return [step for step in self.steps if step.round == self.round]

    @property
    def active(self) -> list[RequestStep]:
        """The steps that are under way, side by side; none in a draft and at an end."""
        if RequestState(self.state) not in OPEN:
            return []
        waiting = [step for step in self.path if step.decided_at is None]
        first = min((step.stage for step in waiting), default=0)
        return [step for step in waiting if step.stage == first]

    @property
    def current(self) -> RequestStep | None:
        """The step that is under way, of several the one that was returned, else the most urgent; None in a draft and at an
        end."""
        return min(self.active, key=lambda one: (not one.stopped, one.due_at or FAR, one.sequence), default=None)

    def step(self, name: str) -> RequestStep | None:
        """The step ``name`` of the present round."""
        return next((step for step in self.path if step.name == name), None)

    @property
    def of_system(self) -> int | None:
        """The id of the system that it is for, or that the resource that it is about belongs to: whose share it draws on."""
        return self.system_id or (self.resource.system_id if self.resource is not None else None)

    def takes(self, *, approved: bool = False) -> dict[Commodity, int]:
        """What it adds to the department's, as asked or as approved so far."""
        return Amount.total(line.takes(approved=approved) for line in self.lines).of_arch(Arch(self.pool.arch))

    def gives(self, *, approved: bool = False) -> dict[Commodity, int]:
        """What it returns of the department's, as asked or as approved so far."""
        return Amount.total(line.gives(approved=approved) for line in self.lines).of_arch(Arch(self.pool.arch))

    @property
    def direction(self) -> ChangeDirection:
        """Which way it goes by what it asks for."""
        grows, shrinks = any(one.takes() for one in self.lines), any(one.gives() for one in self.lines)
        if grows:
            return ChangeDirection.MIXED if shrinks else ChangeDirection.GROW
        return ChangeDirection.SHRINK if shrinks else ChangeDirection.NONE

    def says(self, name: str) -> bool:
        """Whether a field of its form is filled in: for all of it, or by every line."""
        return bool(self.fields.get(name) or (self.lines and all(line.fields.get(name) for line in self.lines)))

    @property
    def reduced(self) -> bool:
        """Whether less than all that was asked for is approved so far."""
        return any(line.reduced for line in self.lines)


class RequestLine(Base):
    """One position: ``quantity`` pieces that have ``current`` and shall have what is ``asked``, or as much
    of it as was ``approved`` (base units by class code).

    A new machine has nothing now; a machine to be returned shall have nothing; a change of quota is written as the
    change itself, and alone may be negative.
    """

    __tablename__ = "request_lines"
    __table_args__ = (
        UniqueConstraint("request_id", "position"),
        CheckConstraint("approved_quantity IS NULL OR approved_quantity BETWEEN 0 AND quantity", name="approved"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("requests.id"))
    position: Mapped[int]
    item_id: Mapped[int | None] = mapped_column(ForeignKey("catalog_items.id"))
    service: Mapped[str] = mapped_column(String(24), default="")  # quota.inventory.ServiceKind
    name: Mapped[str] = mapped_column(String(96), default="")
    current: Mapped[dict[str, int]] = mapped_column(default=dict)
    asked: Mapped[dict[str, int]] = mapped_column("amounts", default=dict)
    quantity: Mapped[int] = mapped_column(default=1)
    approved_quantity: Mapped[int | None]
    approved: Mapped[dict[str, int] | None] = mapped_column("approved_amounts")
    approved_item_id: Mapped[int | None] = mapped_column(ForeignKey("catalog_items.id"))  # in place of ``item``
    fields: Mapped[dict[str, str]] = mapped_column(
        default=dict, server_default="{}"
    )  # name → what it says otherwise than its request

    request: Mapped[Request] = relationship(back_populates="lines")
    item: Mapped[catalog.CatalogItem | None] = relationship(foreign_keys=item_id)
    approved_item: Mapped[catalog.CatalogItem | None] = relationship(foreign_keys=approved_item_id)

    def said(self, name: str) -> str:
        """What it says of a field: by itself, or what its request says for all."""
        return str(self.fields.get(name) or self.request.fields.get(name) or "")

    @property
    def granted_quantity(self) -> int:
        return self.quantity if self.approved_quantity is None else self.approved_quantity

    @property
    def granted_amounts(self) -> dict[str, int]:
        return self.asked if self.approved is None else self.approved

    @property
    def granted_item(self) -> catalog.CatalogItem | None:
        """The item that it is approved as: of a line that was given another one, that."""
        return self.item if self.approved_item_id is None else self.approved_item

    @property
    def reduced(self) -> bool:
        replaced = self.approved_item_id not in (None, self.item_id)
        return replaced or (self.granted_quantity, self.granted_amounts) != (self.quantity, self.asked)

    def difference(self, *, approved: bool = False) -> dict[ClassCode, int]:
        """Wanted less current, over all pieces; negative where it returns."""
        wanted, count = (self.granted_amounts, self.granted_quantity) if approved else (self.asked, self.quantity)
        kinds = sorted({*wanted, *self.current})
        return {ClassCode(name): (wanted.get(name, 0) - self.current.get(name, 0)) * count for name in kinds}

    def takes(self, *, approved: bool = False) -> Amount:
        return Amount({kind: n for kind, n in self.difference(approved=approved).items() if n > 0})

    def gives(self, *, approved: bool = False) -> Amount:
        return Amount({kind: -n for kind, n in self.difference(approved=approved).items() if n < 0})


class RequestStep(Base):
    """A step on a request's path, as one of its parties takes it: whose, within what time, and what came of it.

    Steps of one ``stage`` wait side by side; rows of one ``name`` are the parties of one step, of which ``need`` must approve. A return
    for supplement stops its clock from ``returned_at`` to ``resumed_at``; ``due_at`` is empty meanwhile.
    """

    __tablename__ = "request_steps"
    __table_args__ = (UniqueConstraint("request_id", "round", "sequence"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("requests.id"))
    round: Mapped[int]
    sequence: Mapped[int]
    name: Mapped[str] = mapped_column(String(24))
    role: Mapped[str] = mapped_column(String(16))
    label: Mapped[str] = mapped_column(String(24), default="", server_default="")  # of a city's own step
    stage: Mapped[int] = mapped_column(default=0, server_default="0")
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)  # a tenant's: whose
    person: Mapped[str | None] = mapped_column(String(64))  # the login, where one person alone may take it
    assignee: Mapped[str | None] = mapped_column(String(64))  # the login of who took it on, or was handed it
    need: Mapped[int] = mapped_column(default=1, server_default="1")
    limit: Mapped[int] = mapped_column("limit_days")
    unit: Mapped[str] = mapped_column(
        String(16), default=Unit.WORKING_DAYS.value, server_default=Unit.WORKING_DAYS.value
    )
    record: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # who approves gives a document's number
    record_number: Mapped[str] = mapped_column(String(64), default="", server_default="")
    replaces: Mapped[list[str]] = mapped_column(default=list, server_default="[]")  # what it may approve otherwise
    supplement_days: Mapped[int]
    rule: Mapped[str] = mapped_column(String(48))  # code@version
    because: Mapped[list[str]] = mapped_column(default=list)
    started_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    returned_at: Mapped[datetime | None]
    returned_by: Mapped[str | None] = mapped_column(String(64))
    return_reason: Mapped[str] = mapped_column(Text, default="")
    supplement_due_at: Mapped[datetime | None]
    resumed_at: Mapped[datetime | None]
    decision: Mapped[str | None] = mapped_column(String(16))
    decided_by: Mapped[str | None] = mapped_column(String(64))
    decided_for: Mapped[str | None] = mapped_column(String(64))  # the login of who is away, where a deputy signed
    decided_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text, default="")

    request: Mapped[Request] = relationship(back_populates="steps")
    department: Mapped[Department | None] = relationship()

    @property
    def called(self) -> str:
        """What people call it; one of the house's own is translated, a city's is as the city calls it."""
        return self.label or STEP_LABELS.get(self.name, self.name)

    @property
    def signs(self) -> bool:
        """Whether it comes before the decision."""
        return self.name not in (StepName.DELIVERY, StepName.ACCEPTANCE)

    @property
    def advises(self) -> bool:
        """Whether it is a company's opinion, which decides nothing."""
        return self.signs and self.role == Role.PROVIDER

    @property
    def stopped(self) -> bool:
        """Whether it waits for a supplement."""
        return self.returned_at is not None and self.resumed_at is None

    def deadline(self, days: WorkingDays) -> datetime | None:
        """When it is due by ``days``; None where its clock does not run."""
        if self.started_at is None or self.stopped:
            return None
        if self.returned_at is None or self.resumed_at is None:
            return days.limit(self.started_at, self.limit, self.unit)
        if self.unit != Unit.WORKING_DAYS:
            left = days.limit(self.started_at, self.limit, self.unit) - self.returned_at
            return self.resumed_at + max(left, timedelta(0))
        left_days = self.limit - days.between(self.started_at, self.returned_at)
        # Returned after its time was up: it is late again at once.
        return days.due(self.resumed_at, left_days) if left_days >= 0 else self.resumed_at

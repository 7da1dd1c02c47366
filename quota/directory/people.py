"""People who may open the door. Passwords are the door's business; here is who somebody is and for whom they act."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base
from quota.directory.departments import Department
from quota.directory.pools import CloudProvider


class Person(Base):
    """One account, one role. A tenant belongs to a department, provider staff to a company, nobody else to either. A
    ``service`` is a program: it has no password and never logs in, it acts by a token, and it is nobody who signs in person."""

    __tablename__ = "people"
    __table_args__ = (
        CheckConstraint(
            "(role = 'tenant') = (department_id IS NOT NULL) AND (role = 'provider') = (provider_id IS NOT NULL)",
            name="belongs",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    login: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    email: Mapped[str] = mapped_column(String(254), default="")  # empty: nothing is sent
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    password_hash: Mapped[str] = mapped_column(String(256), default="")
    password_history: Mapped[list[str]] = mapped_column(default=list)
    password_changed_at: Mapped[datetime | None]
    must_change: Mapped[bool] = mapped_column(default=True)
    last_login_at: Mapped[datetime | None]
    session_epoch: Mapped[int] = mapped_column(default=0)  # raised to end every open session of this person
    granted: Mapped[bool] = mapped_column(default=True)  # False: entered, the security administrator has yet to grant
    active: Mapped[bool] = mapped_column(default=True)
    service: Mapped[bool] = mapped_column(default=False)
    quota_manager: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # of a department, and all below it

    department: Mapped[Department | None] = relationship()
    provider: Mapped[CloudProvider | None] = relationship()

    def actor(self, address: str = "", request_id: str = "") -> Actor:
        """This person, acting from ``address``."""
        return Actor(
            login=self.login,
            name=self.name,
            role=Role(self.role),
            department_id=self.department_id,
            provider_id=self.provider_id,
            address=address,
            request_id=request_id,
            program=self.service,
        )

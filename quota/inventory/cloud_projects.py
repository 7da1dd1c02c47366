"""Projects of clouds (云侧项目): what a cloud calls whoever has resources in it. Whose each of them is stands in this table, and a
person decides it (``projects``)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.base import Base
from quota.directory import Department


class CloudProject(Base):
    """One project of a pool's cloud, as it was last told. ``department_id``: whose it is, None until somebody has said so;
    ``mapped_by``, ``mapped_at``, ``reason``: who said it last."""

    __tablename__ = "cloud_projects"
    __table_args__ = (UniqueConstraint("pool_id", "external_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    external_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(128), default="")
    domain: Mapped[str] = mapped_column(String(128), default="")
    tags: Mapped[list[str]] = mapped_column(default=list)
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)
    mapped_by: Mapped[str] = mapped_column(String(64), default="")
    mapped_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(String(500), default="")
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]

    department: Mapped[Department | None] = relationship()

    @property
    def called(self) -> str:
        """Its name, or its id in the cloud where that is not known."""
        return self.name or self.external_id

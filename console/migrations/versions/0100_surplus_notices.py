"""Notices about departments that leave more idle than the policy allows.

Locks: nothing that is there already.
Back: the notices are lost.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0100"
down_revision = "0104"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
OPEN = sa.text("state IN ('reminded', 'urged')")


def upgrade() -> None:
    op.create_table(
        "surplus_notices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("policy_version_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("freed", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("allowed", sa.Float(), nullable=False),
        sa.Column("urge_days", sa.Integer(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("replied_by", sa.String(64), nullable=False),
        sa.Column("replied_at", MOMENT, nullable=True),
        sa.Column("urging", sa.Text(), nullable=False),
        sa.Column("urged_by", sa.String(64), nullable=False),
        sa.Column("urged_at", MOMENT, nullable=True),
        sa.Column("closed_by", sa.String(64), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("(closed_at IS NULL) = (state IN ('reminded', 'urged'))", name=op.f("ck_surplus_notices_closed")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_surplus_notices_department_id")),
        sa.ForeignKeyConstraint(
            ["policy_version_id"], ["policy_versions.id"], name=op.f("fk_surplus_notices_policy_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_surplus_notices")),
    )
    op.create_index(op.f("ix_surplus_notices_department_id"), "surplus_notices", ["department_id"])
    op.create_index(
        "uq_surplus_notices_open_department_id", "surplus_notices", ["department_id"], unique=True, sqlite_where=OPEN,
        postgresql_where=OPEN,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("surplus_notices")

"""Who answers for a department's cloud: heads, deputies and contacts with their days.

Locks: departments, for a moment, for what refers to them. Back: the register goes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0196"
down_revision = "0195"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
STANDING = sa.text("until IS NULL")


def upgrade() -> None:
    op.create_table(
        "headships",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("duty", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=64), nullable=False),
        sa.Column("phone", sa.String(length=32), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("document", sa.String(length=128), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("ended_by", sa.String(length=64), nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint("until IS NULL OR until >= since", name=op.f("ck_headships_days")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_headships_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_headships")),
    )
    op.create_index(op.f("ix_headships_department_id"), "headships", ["department_id"], unique=False)
    op.create_index(
        "uq_headships_standing", "headships", ["department_id", "duty"], unique=True,
        sqlite_where=STANDING, postgresql_where=STANDING,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("headships")

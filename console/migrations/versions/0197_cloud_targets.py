"""Targets of the share of systems on the cloud, by year.

Locks: nothing. Back: the targets go; cards and reports keep what they were told.
"""

import sqlalchemy as sa
from alembic import op

revision = "0197"
down_revision = "0182"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "cloud_targets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signatures", sa.JSON(), nullable=False),
        sa.Column("drafted_by", sa.String(length=64), nullable=False),
        sa.Column("drafted_at", MOMENT, nullable=False),
        sa.Column("enacted_at", MOMENT, nullable=True),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("withdrawn_by", sa.String(length=64), nullable=True),
        sa.CheckConstraint("year BETWEEN 2000 AND 2999", name=op.f("ck_cloud_targets_year")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cloud_targets")),
    )
    op.create_index(op.f("ix_cloud_targets_year"), "cloud_targets", ["year"], unique=False)


def downgrade() -> None:
    op.drop_table("cloud_targets")

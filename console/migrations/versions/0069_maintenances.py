"""Maintenance windows as companies announce them.

Locks: nothing; a new table. Back: the announcements go; incidents that were settled as maintenance stay so.
"""

import sqlalchemy as sa
from alembic import op

revision = "0069"
down_revision = "0068"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "maintenances",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(256), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("announced_at", MOMENT, nullable=False),
        sa.Column("announced_by", sa.String(64), nullable=False),
        sa.Column("cancelled_at", MOMENT, nullable=True),
        sa.Column("cancelled_by", sa.String(64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_maintenances_window")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenances")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_maintenances_pool_id")),
        sa.ForeignKeyConstraint(["provider_id"], ["cloud_providers.id"], name=op.f("fk_maintenances_provider_id")),
    )
    op.create_index("ix_maintenances_pool_id_starts_at", "maintenances", ["pool_id", "starts_at"])
    op.create_index("ix_maintenances_starts_at_id", "maintenances", ["starts_at", "id"])
    op.create_index(op.f("ix_maintenances_provider_id"), "maintenances", ["provider_id"])
    op.create_index(op.f("ix_maintenances_ends_at"), "maintenances", ["ends_at"])
    op.create_index(op.f("ix_maintenances_announced_at"), "maintenances", ["announced_at"])


def downgrade() -> None:
    op.drop_table("maintenances")

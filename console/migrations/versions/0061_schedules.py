"""When each pool is collected and how far back, where it is not the usual; on its mark, how the last collection went.

Locks: intakes, for a moment. Back: the schedules go, and every pool is collected every five minutes again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0080"
branch_labels = None
depends_on = None

COLUMNS = ("coverage", "newest_at", "skew_s", "missed_since", "missed_until")


def upgrade() -> None:
    op.create_table(
        "pool_schedules",
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("every_minutes", sa.Integer(), nullable=False),
        sa.Column("window_days", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name="fk_pool_schedules_pool_id_pools"),
        sa.PrimaryKeyConstraint("pool_id", name="pk_pool_schedules"),
    )
    for name in ("coverage", "skew_s"):
        op.add_column("intakes", sa.Column(name, sa.Float(), nullable=True))
    for name in ("newest_at", "missed_since", "missed_until"):
        op.add_column("intakes", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("intakes", name)
    op.drop_table("pool_schedules")

"""The tree of quota: what one storey gave to the one below it, and quota given for a time; who manages quota for a department.

Locks: people for a moment (a column with a default). Back: allocations go, and with them who gave what to whom; the quota stays where
it lies.
"""

import sqlalchemy as sa
from alembic import op

revision = "0081"
down_revision = "0067"
branch_labels = None
depends_on = None

INDEXED = ("giver_id", "receiver_id", "pool_id")


def upgrade() -> None:
    op.create_table(
        "allocations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=160), nullable=False),
        sa.Column("giver_id", sa.Integer(), nullable=True),
        sa.Column("receiver_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("arch", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("returned", sa.BigInteger(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount > 0 AND returned >= 0 AND returned <= amount", name=op.f("ck_allocations_sane")),
        sa.CheckConstraint("giver_id IS NULL OR giver_id <> receiver_id", name=op.f("ck_allocations_two")),
        sa.CheckConstraint("(state = 'ended') = (returned = amount)", name=op.f("ck_allocations_ended")),
        sa.ForeignKeyConstraint(["giver_id"], ["departments.id"], name=op.f("fk_allocations_giver_id")),
        sa.ForeignKeyConstraint(["receiver_id"], ["departments.id"], name=op.f("fk_allocations_receiver_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_allocations_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocations")),
        sa.UniqueConstraint("key", name=op.f("uq_allocations_key")),
    )
    for name in INDEXED:
        op.create_index(op.f(f"ix_allocations_{name}"), "allocations", [name], unique=False)
    op.create_index("ix_allocations_state_ends_on", "allocations", ["state", "ends_on"], unique=False)
    # A plain ALTER: SQLite would have to rebuild the table, and others refer to its rows.
    op.add_column("people", sa.Column("quota_manager", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("people", "quota_manager")
    op.drop_index("ix_allocations_state_ends_on", table_name="allocations")
    for name in reversed(INDEXED):
        op.drop_index(op.f(f"ix_allocations_{name}"), table_name="allocations")
    op.drop_table("allocations")

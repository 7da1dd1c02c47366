"""Quota that was promised for a day to come: the queue of each pool.

Locks: nothing. Back: the promises go; refused while capacity is held for one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0185"
down_revision = "0196"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "commitments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("basis", sa.String(40), nullable=False),
        sa.Column("called", sa.String(40), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("amounts", sa.JSON(), nullable=False),
        sa.Column("wanted_on", sa.Date(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("late_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'confirmed', 'given', 'cancelled')", name=op.f("ck_commitments_state")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_commitments_department_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_commitments_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
        sa.UniqueConstraint("basis", name=op.f("uq_commitments_basis")),
    )
    op.create_index(op.f("ix_commitments_department_id"), "commitments", ["department_id"])
    op.create_index("ix_commitments_queue", "commitments", ["state", "pool_id", "wanted_on"])


def downgrade() -> None:
    held = op.get_bind().scalar(sa.text("SELECT count(*) FROM commitments WHERE state = 'confirmed'"))
    if held:
        raise RuntimeError("no way back below 0185: capacity is held for commitments; cancel them before")
    op.drop_table("commitments")

"""Plans of work orders, call by call, and pools whose orders are planned only.

Locks: work_orders and pools, for the moment in which a column is added; beside it new tables. Back: the new tables and columns go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0046"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "order_plans",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(140), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_plans")),
        sa.ForeignKeyConstraint(["order_id"], ["work_orders.id"], name=op.f("fk_order_plans_order_id")),
        sa.UniqueConstraint("key", name=op.f("uq_order_plans_key")),
    )
    op.create_index(op.f("ix_order_plans_order_id"), "order_plans", ["order_id"])
    op.create_table(
        "order_calls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("plan_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("frees", sa.JSON(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("began_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_calls")),
        sa.ForeignKeyConstraint(["plan_id"], ["order_plans.id"], name=op.f("fk_order_calls_plan_id")),
        sa.UniqueConstraint("plan_id", "place", name=op.f("uq_order_calls_plan_id_place")),
    )
    op.add_column("work_orders", sa.Column("fault", sa.String(16), nullable=False, server_default=""))
    op.add_column("pools", sa.Column("dry_run", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("pools", "dry_run")
    op.drop_column("work_orders", "fault")
    op.drop_table("order_calls")
    op.drop_table("order_plans")

"""Agents beside clouds that the console cannot reach: who is let in for which pool.

Locks: none of what stands (a new table). Back: the new tables go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("rotated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_agents_pool_id")),
        sa.UniqueConstraint("pool_id", name=op.f("uq_agents_pool_id")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_agents_token_digest")),
    )


def downgrade() -> None:
    op.drop_table("agents")

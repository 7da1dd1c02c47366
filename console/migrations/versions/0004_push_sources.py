"""Agents that push what they measure."""

import sqlalchemy as sa
from alembic import op

import quota.base

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "push_sources",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", quota.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_point_at", quota.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("ignored", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_push_sources_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_push_sources")),
        sa.UniqueConstraint("code", name=op.f("uq_push_sources_code")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_push_sources_token_digest")),
    )


def downgrade() -> None:
    op.drop_table("push_sources")

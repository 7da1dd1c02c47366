"""Feeds: stores that are asked for the usage of a pool's machines, and what they call these.

Locks: none of what stands (new tables). Back: the new tables go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0031"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "feeds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("adapter", sa.String(32), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("history_days", sa.Integer(), nullable=False),
        sa.Column("every_minutes", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        *(sa.Column(f"{name}_at", MOMENT, nullable=True) for name in ("collected", "succeeded", "newest", "fault")),
        sa.Column("collected_until", MOMENT, nullable=True),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("due", sa.Integer(), nullable=False),
        sa.Column("coverage", sa.Float(), nullable=True),
        sa.Column("skew_s", sa.Float(), nullable=True),
        sa.Column("unknown", sa.JSON(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("fault", sa.String(64), nullable=False),
        sa.Column("fault_said", sa.Text(), nullable=False),
        sa.Column("trial_asked_at", MOMENT, nullable=True),
        sa.Column("trial_at", MOMENT, nullable=True),
        sa.Column("trial", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feeds")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_feeds_pool_id")),
        sa.UniqueConstraint("code", name=op.f("uq_feeds_code")),
    )
    op.create_index(op.f("ix_feeds_pool_id"), "feeds", ["pool_id"])
    op.create_table(
        "feed_names",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("feed_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(256), nullable=False),
        sa.Column("external_id", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed_names")),
        sa.ForeignKeyConstraint(["feed_id"], ["feeds.id"], name=op.f("fk_feed_names_feed_id")),
        sa.UniqueConstraint("feed_id", "label", name=op.f("uq_feed_names_feed_id_label")),
    )
    op.create_index(op.f("ix_feed_names_feed_id"), "feed_names", ["feed_id"])


def downgrade() -> None:
    op.drop_table("feed_names")
    op.drop_table("feeds")

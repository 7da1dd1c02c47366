"""From where feeds see machines and how far they are trusted; what each says of each machine; what is less than was delivered.

Locks: feeds, for the moment in which columns are added; beside it new tables. Back: the new tables and columns go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0037"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("feeds", sa.Column("vantage", sa.String(8), nullable=False, server_default=""))
    op.add_column("feeds", sa.Column("trust", sa.Integer(), nullable=False, server_default="5"))
    op.add_column("feeds", sa.Column("withheld", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "feed_readings",
        sa.Column("feed_id", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        *(sa.Column(name, sa.Float(), nullable=True) for name in ("vcpu", "mem_mb", "cpu_pct", "mem_pct", "steal_pct")),
        sa.ForeignKeyConstraint(["feed_id"], ["feeds.id"], name=op.f("fk_feed_readings_feed_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_feed_readings_resource_id")),
        sa.PrimaryKeyConstraint("feed_id", "resource_id", name=op.f("pk_feed_readings")),
    )
    op.create_index(op.f("ix_feed_readings_resource_id"), "feed_readings", ["resource_id"])
    op.create_table(
        "short_deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("feed_id", sa.Integer(), nullable=False),
        sa.Column("what", sa.String(12), nullable=False),
        sa.Column("delivered", sa.Float(), nullable=False),
        sa.Column("listed_at", MOMENT, nullable=True),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.Column("host", sa.Float(), nullable=True),
        sa.Column("first_at", MOMENT, nullable=False),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.Column("confirmed_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["feed_id"], ["feeds.id"], name=op.f("fk_short_deliveries_feed_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_short_deliveries_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_short_deliveries")),
    )
    op.create_index(op.f("ix_short_deliveries_feed_id"), "short_deliveries", ["feed_id"])
    op.create_index(op.f("ix_short_deliveries_resource_id"), "short_deliveries", ["resource_id"])
    op.create_index("ix_short_deliveries_first_at_id", "short_deliveries", ["first_at", "id"])


def downgrade() -> None:
    op.drop_table("short_deliveries")
    op.drop_table("feed_readings")
    for name in ("withheld", "trust", "vantage"):
        op.execute(f"ALTER TABLE feeds DROP COLUMN {name}")

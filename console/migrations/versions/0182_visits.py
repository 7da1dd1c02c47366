"""Logins and visits of systems as they are pushed: by series, by day, and what they come to.

Locks: push_sources for a moment, to add a column with a constant default. Back: the counts go; what was typed of systems stays.
"""

import sqlalchemy as sa
from alembic import op

revision = "0182"
down_revision = "0185"
branch_labels = None
depends_on = None

KEYS = {"source_id": "push_sources.id", "system_id": "systems.id"}


def _refers(table: str, **columns: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([name], [target], name=op.f(f"fk_{table}_{name}")) for name, target in columns.items()
    ]


def upgrade() -> None:
    op.add_column("push_sources", sa.Column("systems", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "visit_series",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("series", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("high", sa.Float(), nullable=False),
        *_refers("visit_series", **KEYS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visit_series")),
        sa.UniqueConstraint(
            "source_id", "system_id", "kind", "series", name=op.f("uq_visit_series_source_id_system_id_kind_series")
        ),
    )
    op.create_index(op.f("ix_visit_series_system_id"), "visit_series", ["system_id"])
    op.create_index(op.f("ix_visit_series_last_at"), "visit_series", ["last_at"])
    op.create_table(
        "system_visits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("known_s", sa.Integer(), nullable=False),
        *_refers("system_visits", **KEYS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system_visits")),
        sa.UniqueConstraint(
            "system_id", "source_id", "kind", "day", name=op.f("uq_system_visits_system_id_source_id_kind_day")
        ),
    )
    op.create_index(op.f("ix_system_visits_day"), "system_visits", ["day"])
    by = {name: "push_sources.id" for name in ("logins_by", "visits_by", "users_by")}
    op.create_table(
        "measured_visits",
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.Column("last_login_on", sa.Date(), nullable=True),
        sa.Column("known_since", sa.Date(), nullable=True),
        sa.Column("logins", sa.BigInteger(), nullable=True),
        sa.Column("logins_by", sa.Integer(), nullable=True),
        sa.Column("visits", sa.BigInteger(), nullable=True),
        sa.Column("visits_by", sa.Integer(), nullable=True),
        sa.Column("active_users", sa.BigInteger(), nullable=True),
        sa.Column("users_on", sa.Date(), nullable=True),
        sa.Column("users_by", sa.Integer(), nullable=True),
        *_refers("measured_visits", system_id="systems.id", **by),
        sa.PrimaryKeyConstraint("system_id", name=op.f("pk_measured_visits")),
    )


def downgrade() -> None:
    for table in ("measured_visits", "system_visits", "visit_series"):
        op.drop_table(table)
    op.drop_column("push_sources", "systems")

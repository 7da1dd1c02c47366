"""Monitoring: probed endpoints with their days, what alerts are about, outages as monitoring tells of them.

Locks: nothing; four new tables. Back: they go; incidents that they led to stay.
"""

import sqlalchemy as sa
from alembic import op

revision = "0104"
down_revision = "0092"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "probe_endpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=True),
        sa.Column("target", sa.String(256), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("fails", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("entered_by", sa.String(64), nullable=False),
        sa.Column("entered_at", MOMENT, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("probed_ms", sa.BigInteger(), nullable=True),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("down_ms", sa.BigInteger(), nullable=True),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.CheckConstraint("level BETWEEN 1 AND 4", name=op.f("ck_probe_endpoints_level")),
        sa.CheckConstraint("interval_s > 0 AND fails > 0", name=op.f("ck_probe_endpoints_pace")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_probe_endpoints_pool_id")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_probe_endpoints_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probe_endpoints")),
        sa.UniqueConstraint("pool_id", "target", name=op.f("uq_probe_endpoints_pool_id_target")),
    )
    op.create_index(op.f("ix_probe_endpoints_system_id"), "probe_endpoints", ["system_id"])
    op.create_table(
        "endpoint_days",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("down_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["endpoint_id"], ["probe_endpoints.id"], name=op.f("fk_endpoint_days_endpoint_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint_days")),
        sa.UniqueConstraint("endpoint_id", "day", name=op.f("uq_endpoint_days_endpoint_id_day")),
    )
    op.create_table(
        "alert_mappings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("based_on", sa.Integer(), nullable=True),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("drafted_by", sa.String(64), nullable=False),
        sa.Column("drafted_at", MOMENT, nullable=False),
        sa.Column("signed_by", sa.String(64), nullable=True),
        sa.Column("signed_at", MOMENT, nullable=True),
        sa.Column("opinion", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["based_on"], ["alert_mappings.id"], name=op.f("fk_alert_mappings_based_on")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_mappings")),
        sa.UniqueConstraint("version", name=op.f("uq_alert_mappings_version")),
    )
    op.create_table(
        "outage_signals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=True),
        sa.Column("system_id", sa.Integer(), nullable=True),
        sa.Column("level", sa.Integer(), nullable=True),
        sa.Column("endpoint_id", sa.Integer(), nullable=True),
        sa.Column("incident_id", sa.Integer(), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("heard_at", MOMENT, nullable=False),
        sa.Column("heard_by", sa.String(64), nullable=False),
        sa.Column("last_heard_at", MOMENT, nullable=False),
        sa.Column("presumed", sa.Boolean(), nullable=False),
        sa.Column("detached_by", sa.String(64), nullable=True),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_outage_signals_pool_id")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_outage_signals_system_id")),
        sa.ForeignKeyConstraint(["endpoint_id"], ["probe_endpoints.id"], name=op.f("fk_outage_signals_endpoint_id")),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name=op.f("fk_outage_signals_incident_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outage_signals")),
        sa.UniqueConstraint("kind", "key", "began_at", name=op.f("uq_outage_signals_kind_key_began_at")),
    )
    op.create_index("ix_outage_signals_pool_id_began_at", "outage_signals", ["pool_id", "began_at"])
    op.create_index("ix_outage_signals_began_at_id", "outage_signals", ["began_at", "id"])
    op.create_index(op.f("ix_outage_signals_system_id"), "outage_signals", ["system_id"])
    op.create_index(op.f("ix_outage_signals_endpoint_id"), "outage_signals", ["endpoint_id"])
    op.create_index(op.f("ix_outage_signals_incident_id"), "outage_signals", ["incident_id"])


def downgrade() -> None:
    for table in ("outage_signals", "alert_mappings", "endpoint_days", "probe_endpoints"):
        op.drop_table(table)

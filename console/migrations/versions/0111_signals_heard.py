"""When a signal was last heard, whether its end was told, which endpoint it is about and who said that it tells of no outage; of
incidents, whose word stands against monitoring's and of which other outage it is the same.

Locks: outage_signals and incidents, for the moment in which columns and two indexes are added; signals are written once.
Back: the columns go, and with them which incidents count as part of another: rulings of that kind are then settled ones of nobody.
"""

import sqlalchemy as sa
from alembic import op

revision = "0111"
down_revision = "0112"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("outage_signals", sa.Column("last_heard_at", MOMENT, nullable=True))
    op.execute("UPDATE outage_signals SET last_heard_at = heard_at")
    with op.batch_alter_table("outage_signals") as table:
        table.alter_column("last_heard_at", existing_type=MOMENT, nullable=False)
        table.add_column(sa.Column("presumed", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("detached_by", sa.String(64), nullable=True))
        table.add_column(sa.Column("endpoint_id", sa.Integer(), nullable=True))
        table.create_foreign_key(op.f("fk_outage_signals_endpoint_id"), "probe_endpoints", ["endpoint_id"], ["id"])
    with op.batch_alter_table("outage_signals") as table:
        table.alter_column("presumed", existing_type=sa.Boolean(), server_default=None)
    op.create_index(op.f("ix_outage_signals_endpoint_id"), "outage_signals", ["endpoint_id"])
    with op.batch_alter_table("incidents") as table:
        table.add_column(sa.Column("corrected_by", sa.String(64), nullable=True))
        table.add_column(sa.Column("same_as_id", sa.Integer(), nullable=True))
        table.create_foreign_key(op.f("fk_incidents_same_as_id"), "incidents", ["same_as_id"], ["id"])
    op.create_index(op.f("ix_incidents_same_as_id"), "incidents", ["same_as_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_incidents_same_as_id"), "incidents")
    with op.batch_alter_table("incidents") as table:
        table.drop_constraint(op.f("fk_incidents_same_as_id"), type_="foreignkey")
        table.drop_column("same_as_id")
        table.drop_column("corrected_by")
    op.drop_index(op.f("ix_outage_signals_endpoint_id"), "outage_signals")
    with op.batch_alter_table("outage_signals") as table:
        table.drop_constraint(op.f("fk_outage_signals_endpoint_id"), type_="foreignkey")
        for name in ("endpoint_id", "detached_by", "presumed", "last_heard_at"):
            table.drop_column(name)

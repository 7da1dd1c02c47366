"""Supervision: items that two people sign, what is beyond a limit and not yet for long enough, alerts.

Locks: nothing. Back: items and alerts go; reports keep what they were told.
"""

import sqlalchemy as sa
from alembic import op

revision = "0203"
down_revision = "0202"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
FIGURE = sa.Numeric(20, 4)


def _items() -> None:
    op.create_table(
        "supervision_items",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("means", sa.Text(), nullable=False),
        sa.Column("requirement", sa.Text(), nullable=False),
        sa.Column("measure", sa.String(length=32), nullable=False),
        sa.Column("object_type", sa.String(length=16), nullable=False),
        sa.Column("chosen", sa.JSON(), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("threshold", FIGURE, nullable=False),
        sa.Column("hold_days", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("answerer", sa.String(length=16), nullable=False),
        sa.Column("tells_authority", sa.Boolean(), nullable=False),
        sa.Column("tells_department", sa.Boolean(), nullable=False),
        sa.Column("tells_provider", sa.Boolean(), nullable=False),
        sa.Column("reply_days", sa.Integer(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("stops", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signatures", sa.JSON(), nullable=False),
        sa.Column("drafted_by", sa.String(length=64), nullable=False),
        sa.Column("drafted_at", MOMENT, nullable=False),
        sa.Column("enacted_at", MOMENT, nullable=True),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("withdrawn_by", sa.String(length=64), nullable=True),
        sa.CheckConstraint("hold_days >= 0 AND reply_days >= 1", name=op.f("ck_supervision_items_days")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_supervision_items")),
    )
    op.create_index(op.f("ix_supervision_items_code"), "supervision_items", ["code"], unique=False)
    op.create_table(
        "supervision_excesses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Integer(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["supervision_items.id"], name=op.f("fk_supervision_excesses_item_id_supervision_items")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_supervision_excesses")),
        sa.UniqueConstraint("item_id", "object_id", name=op.f("uq_supervision_excesses_item_id_object_id")),
    )


def upgrade() -> None:
    _items()
    op.create_table(
        "supervision_alerts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("object_key", sa.String(length=32), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=True)
            for name in ("provider_id", "pool_id", "department_id", "system_id")
        ),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("opened_with", FIGURE, nullable=False),
        sa.Column("figure", FIGURE, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("acknowledged_by", sa.String(length=64), nullable=False),
        sa.Column("acknowledged_at", MOMENT, nullable=True),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("answered_by", sa.String(length=64), nullable=False),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (state IN ('open', 'acknowledged', 'answered'))",
            name=op.f("ck_supervision_alerts_closed"),
        ),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_supervision_alerts_{column}_{table}"))
            for column, table in (
                ("item_id", "supervision_items"),
                ("provider_id", "cloud_providers"),
                ("pool_id", "pools"),
                ("department_id", "departments"),
                ("system_id", "systems"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_supervision_alerts")),
    )
    for column in ("item_id", "provider_id", "pool_id", "department_id", "system_id"):
        op.create_index(op.f(f"ix_supervision_alerts_{column}"), "supervision_alerts", [column], unique=False)
    op.create_index("ix_supervision_alerts_due_at_id", "supervision_alerts", ["due_at", "id"], unique=False)
    open_only = sa.text("closed_at IS NULL")
    op.create_index(
        "uq_supervision_alerts_open", "supervision_alerts", ["code", "object_key"],
        unique=True, sqlite_where=open_only, postgresql_where=open_only,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("supervision_alerts")
    op.drop_table("supervision_excesses")
    op.drop_table("supervision_items")

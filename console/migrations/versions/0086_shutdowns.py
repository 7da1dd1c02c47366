"""Shutdowns of whole systems, with what of each goes and by which request.

Locks: nothing; two new tables. Back: the shutdowns go, what they asked for stays.
"""

import sqlalchemy as sa
from alembic import op

revision = "0086"
down_revision = "0074"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
OPEN = sa.text("state IN ('preparing', 'running')")


def upgrade() -> None:
    op.create_table(
        "system_shutdowns",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("why_rest", sa.Text(), nullable=False),
        sa.Column("begun_by", sa.String(64), nullable=False),
        sa.Column("begun_at", MOMENT, nullable=False),
        sa.Column("closed_by", sa.String(64), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (state IN ('preparing', 'running'))", name=op.f("ck_system_shutdowns_closed")
        ),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_system_shutdowns_system_id")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_system_shutdowns_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system_shutdowns")),
        sa.UniqueConstraint("key", name=op.f("uq_system_shutdowns_key")),
    )
    op.create_index(op.f("ix_system_shutdowns_system_id"), "system_shutdowns", ["system_id"])
    op.create_index(op.f("ix_system_shutdowns_department_id"), "system_shutdowns", ["department_id"])
    op.create_index(
        "uq_system_shutdowns_open_system_id", "system_shutdowns", ["system_id"], unique=True, sqlite_where=OPEN,
        postgresql_where=OPEN,
    )  # fmt: skip
    op.create_table(
        "shutdown_items",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("shutdown_id", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("goes", sa.Boolean(), nullable=False),
        sa.Column("request_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["shutdown_id"], ["system_shutdowns.id"], name=op.f("fk_shutdown_items_shutdown_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_shutdown_items_resource_id")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_shutdown_items_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shutdown_items")),
        sa.UniqueConstraint("shutdown_id", "resource_id", name=op.f("uq_shutdown_items_shutdown_id_resource_id")),
    )
    op.create_index(op.f("ix_shutdown_items_resource_id"), "shutdown_items", ["resource_id"])
    op.create_index(op.f("ix_shutdown_items_request_id"), "shutdown_items", ["request_id"])


def downgrade() -> None:
    op.drop_table("shutdown_items")
    op.drop_table("system_shutdowns")

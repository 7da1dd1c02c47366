"""What departments keep outside the government cloud, and requests about a register's row.

Locks: requests, for a moment; the default rewrites nothing. The index of requests is built under a lock that lets nobody write.
Back: the register of what is outside goes; requests about it stay, without what they are about.
"""

import sqlalchemy as sa
from alembic import op

revision = "0155"
down_revision = "0165"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "outside_facilities",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(length=128), nullable=False),
        sa.Column("size", sa.String(length=256), nullable=False),
        sa.Column("recognised_on", sa.Date(), nullable=True),
        sa.Column("recognised_until", sa.Date(), nullable=True),
        sa.Column("refused_on", sa.Date(), nullable=True),
        sa.Column("move_by", sa.Date(), nullable=True),
        sa.Column("basis", sa.String(length=40), nullable=False),
        sa.Column("left_on", sa.Date(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint("recognised_on IS NULL OR refused_on IS NULL", name=op.f("ck_outside_facilities_decided")),
        sa.CheckConstraint(
            "recognised_until IS NULL OR recognised_until >= recognised_on", name=op.f("ck_outside_facilities_days")
        ),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_outside_facilities_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outside_facilities")),
    )
    for column in ("department_id", "move_by", "recognised_until"):
        op.create_index(op.f(f"ix_outside_facilities_{column}"), "outside_facilities", [column], unique=False)
    op.create_table(
        "outside_facility_systems",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("facility_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["facility_id"], ["outside_facilities.id"], name=op.f("fk_outside_facility_systems_facility_id")
        ),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_outside_facility_systems_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outside_facility_systems")),
        sa.UniqueConstraint("facility_id", "system_id", name=op.f("uq_outside_facility_systems_facility_id_system_id")),
    )
    op.create_index(
        op.f("ix_outside_facility_systems_system_id"), "outside_facility_systems", ["system_id"], unique=False
    )
    op.add_column("requests", sa.Column("entry_id", sa.Integer(), nullable=True))
    op.add_column("requests", sa.Column("entry_called", sa.String(length=128), nullable=False, server_default=""))
    op.create_index(op.f("ix_requests_entry_id"), "requests", ["entry_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_requests_entry_id"), table_name="requests")
    op.drop_column("requests", "entry_called")
    op.drop_column("requests", "entry_id")
    op.drop_index(op.f("ix_outside_facility_systems_system_id"), table_name="outside_facility_systems")
    op.drop_table("outside_facility_systems")
    for column in ("recognised_until", "move_by", "department_id"):
        op.drop_index(op.f(f"ix_outside_facilities_{column}"), table_name="outside_facilities")
    op.drop_table("outside_facilities")

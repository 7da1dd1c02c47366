"""Hosted equipment of departments.

Locks: nothing. Back: the register goes; what ended by it stays among what ends, as a licence.
"""

import sqlalchemy as sa
from alembic import op

revision = "0204"
down_revision = "0216"
branch_labels = None
depends_on = None

RESEALS = ("dated_entries",)

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "hosted_equipment",
        sa.Column("id", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.String(length=length), nullable=False)
            for name, length in (
                ("name", 128), ("kind", 16), ("asset_number", 64), ("serial", 64), ("model", 128), ("owner", 128), ("agreement", 128),
            )
        ),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=True),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("height_u", sa.Integer(), nullable=False),
        sa.Column("power_w", sa.Integer(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("room", sa.String(length=64), nullable=False),
        sa.Column("cabinet", sa.String(length=32), nullable=False),
        sa.Column("u_from", sa.Integer(), nullable=True),
        sa.Column("placed_at", MOMENT, nullable=True),
        sa.Column("entered_at", MOMENT, nullable=False),
        sa.Column("entered_by", sa.String(length=64), nullable=False),
        sa.Column("left_on", sa.Date(), nullable=True),
        sa.Column("left_at", MOMENT, nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("height_u BETWEEN 1 AND 60 AND power_w >= 0", name=op.f("ck_hosted_equipment_size")),
        sa.CheckConstraint("(placed_at IS NULL) = (u_from IS NULL)", name=op.f("ck_hosted_equipment_placed")),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_hosted_equipment_{column}_{table}"))
            for column, table in (
                ("department_id", "departments"), ("system_id", "systems"), ("provider_id", "cloud_providers"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosted_equipment")),
    )  # fmt: skip
    for column in ("serial", "department_id", "system_id", "provider_id"):
        op.create_index(op.f(f"ix_hosted_equipment_{column}"), "hosted_equipment", [column], unique=False)
    op.create_index("ix_hosted_equipment_ends_on_id", "hosted_equipment", ["ends_on", "id"], unique=False)


def downgrade() -> None:
    op.execute("UPDATE dated_entries SET kind = 'licence', source = '' WHERE kind = 'hosting'")
    op.drop_table("hosted_equipment")

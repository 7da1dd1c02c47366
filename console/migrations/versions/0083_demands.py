"""The yearly demand round: what departments need in a year, what the authority settled of it.

Locks: nothing; new tables. Back: rounds and demands go; the quotas that were enacted stay.
"""

import sqlalchemy as sa
from alembic import op

revision = "0083"
down_revision = "0082"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "demand_rounds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("closes_on", sa.Date(), nullable=False),
        sa.Column("opened_by", sa.String(length=64), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("enacted_by", sa.String(length=64), nullable=False),
        sa.Column("enacted_at", MOMENT, nullable=True),
        sa.CheckConstraint("year BETWEEN 2000 AND 2999", name=op.f("ck_demand_rounds_year")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_demand_rounds")),
        sa.UniqueConstraint("year", name=op.f("uq_demand_rounds_year")),
    )
    op.create_table(
        "demands",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("arch", sa.String(length=16), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=True),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("granted_at", MOMENT, nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "asked >= 0 AND (settled IS NULL OR settled BETWEEN 0 AND asked)", name=op.f("ck_demands_sane")
        ),
        sa.ForeignKeyConstraint(["round_id"], ["demand_rounds.id"], name=op.f("fk_demands_round_id")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_demands_department_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_demands_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_demands")),
        sa.UniqueConstraint(
            "round_id", "department_id", "pool_id", "kind", "arch", name=op.f("uq_demands_round_id_department_id_pool_id_kind_arch")
        ),
    )
    op.create_index(op.f("ix_demands_department_id"), "demands", ["department_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_demands_department_id"), table_name="demands")
    op.drop_table("demands")
    op.drop_table("demand_rounds")

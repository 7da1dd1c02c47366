"""Billing years with what each department owes of them, and budgets of departments.

Locks: nothing; new tables. Back: they go, with what was handed to finance.
"""

import sqlalchemy as sa
from alembic import op

revision = "0166"
down_revision = "0155"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "billing_years",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("first_month", sa.String(7), nullable=False),
        sa.Column("last_month", sa.String(7), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("paid_in", sa.Integer(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("drafted_at", MOMENT, nullable=False),
        sa.Column("drafted_by", sa.String(64), nullable=False),
        sa.Column("enacted_at", MOMENT, nullable=True),
        sa.Column("enacted_by", sa.String(64), nullable=True),
        sa.Column("finding", sa.String(16), nullable=False),
        sa.Column("opinion", sa.Text(), nullable=False),
        sa.Column("companies", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("judged_at", MOMENT, nullable=True),
        sa.Column("judged_by", sa.String(64), nullable=True),
        sa.Column("handed_at", MOMENT, nullable=True),
        sa.Column("handed_by", sa.String(64), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_years")),
    )
    op.create_index("ix_billing_years_first_month_id", "billing_years", ["first_month", "id"])
    op.create_table(
        "billing_year_units",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("year_id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=True),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("audited_fen", sa.BigInteger(), nullable=False),
        sa.Column("unmeasured_fen", sa.BigInteger(), nullable=False),
        sa.Column("budget_fen", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["year_id"], ["billing_years.id"], name=op.f("fk_billing_year_units_year_id")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_billing_year_units_department_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_year_units")),
        sa.UniqueConstraint("year_id", "department_id", name=op.f("uq_billing_year_units_year_id_department_id")),
    )
    op.create_index("ix_billing_year_units_audited", "billing_year_units", ["year_id", "audited_fen", "id"])
    op.create_table(
        "department_budgets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("entered_at", MOMENT, nullable=False),
        sa.Column("entered_by", sa.String(64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("fen > 0", name=op.f("ck_department_budgets_fen")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_department_budgets_department_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_department_budgets")),
        sa.UniqueConstraint("department_id", "year", name=op.f("uq_department_budgets_department_id_year")),
    )
    op.create_index(op.f("ix_department_budgets_year"), "department_budgets", ["year"])


def downgrade() -> None:
    op.drop_table("department_budgets")
    op.drop_table("billing_year_units")
    op.drop_table("billing_years")

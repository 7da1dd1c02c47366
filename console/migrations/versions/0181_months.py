"""What closed months were, where a policy asks for several running: of wholes beside what they are called, of a department's surplus by
month, and in its reminder.

Locks: judged_wholes and surplus_notices for a moment, to add a column with a constant default; no row is rewritten on PostgreSQL. Back: the
column and the table go, and with them what the months were; the next night measures those of wholes anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0181"
down_revision = "0162"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("judged_wholes", "surplus_notices"):
        op.add_column(table, sa.Column("months", sa.JSON(), nullable=False, server_default=sa.text("'[]'")))
    op.create_table(
        "surplus_months",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("freed", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("known", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_surplus_months_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_surplus_months")),
        sa.UniqueConstraint("department_id", "month", name=op.f("uq_surplus_months_department_id_month")),
    )
    op.create_index(op.f("ix_surplus_months_month"), "surplus_months", ["month"])


def downgrade() -> None:
    op.drop_table("surplus_months")
    for table in ("surplus_notices", "judged_wholes"):
        op.drop_column(table, "months")

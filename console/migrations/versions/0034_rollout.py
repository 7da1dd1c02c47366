"""Where findings become cases, how many letters go out a week, and what waits for either.

Locks: notices, against writers, while an index is built; beside it new tables. Back: the new tables and columns go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0034"
down_revision = "0038"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
KEPT = ("scope_decisions", "letter_ceilings")


def upgrade() -> None:
    op.create_table(
        "scope_decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=True),
        sa.Column("pool_id", sa.Integer(), nullable=True),
        sa.Column("opens", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_scope_decisions_department_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_scope_decisions_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scope_decisions")),
    )
    op.create_table(
        "letter_ceilings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=True),
        sa.Column("per_week", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint("per_week IS NULL OR per_week > 0", name=op.f("ck_letter_ceilings_per_week")),
        sa.CheckConstraint(
            "(scope = 'one') = (department_id IS NOT NULL)", name=op.f("ck_letter_ceilings_whose")
        ),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_letter_ceilings_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letter_ceilings")),
    )
    for table in KEPT:
        for statement in append_only_ddl(table)[op.get_bind().dialect.name]:
            op.execute(statement)
    op.create_table(
        "awaited_cases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("finding_id", sa.Integer(), nullable=False),
        sa.Column("assessment_id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("recoverable", sa.JSON(), nullable=False),
        sa.Column("worth", sa.Float(), nullable=False),
        sa.Column("why", sa.String(24), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("expected_on", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["assessment_id"], ["assessments.id"], name=op.f("fk_awaited_cases_assessment_id")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_awaited_cases_department_id")),
        sa.ForeignKeyConstraint(["finding_id"], ["findings.id"], name=op.f("fk_awaited_cases_finding_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_awaited_cases_pool_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_awaited_cases_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_awaited_cases")),
        sa.UniqueConstraint("resource_id", name=op.f("uq_awaited_cases_resource_id")),
    )
    for column in ("department_id", "pool_id", "why"):
        op.create_index(op.f(f"ix_awaited_cases_{column}"), "awaited_cases", [column])
    for column in ("place", "worth", "since"):
        op.create_index(f"ix_awaited_cases_{column}_id", "awaited_cases", [column, "id"])
    op.create_index(op.f("ix_notices_issued_at"), "notices", ["issued_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_notices_issued_at"), table_name="notices")
    op.drop_table("awaited_cases")
    for table in reversed(KEPT):
        for statement in drop_append_only_ddl(table)[op.get_bind().dialect.name]:
            op.execute(statement)
        op.drop_table(table)

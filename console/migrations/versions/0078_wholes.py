"""What the newest assessment says of pools, departments and systems as wholes, summed when it is recorded.

Locks: nothing; two new tables, filled from the findings of the newest assessment once the book is at the head. Back: the sums go,
which are made anew from the findings.
"""

import sqlalchemy as sa
from alembic import op

revision = "0078"
down_revision = "0075"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "measured_uses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("assessment_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("arch", sa.String(16), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=True),
        sa.Column("system_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("load", sa.Float(), nullable=False),
        sa.Column("measured", sa.BigInteger(), nullable=False),
        sa.Column("covered", sa.Float(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("reclaimable", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measured_uses")),
        sa.ForeignKeyConstraint(["assessment_id"], ["assessments.id"], name=op.f("fk_measured_uses_assessment_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_measured_uses_pool_id")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_measured_uses_department_id")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_measured_uses_system_id")),
    )
    for column in ("kind", "pool_id", "department_id", "system_id"):
        op.create_index(f"ix_measured_uses_assessment_id_{column}", "measured_uses", ["assessment_id", column])
    op.create_table(
        "judged_wholes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("assessment_id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=True),
        sa.Column("system_id", sa.Integer(), nullable=True),
        sa.Column("machines", sa.Integer(), nullable=False),
        sa.Column("cores", sa.BigInteger(), nullable=False),
        sa.Column("cpu", sa.Float(), nullable=True),
        sa.Column("memory", sa.Float(), nullable=True),
        sa.Column("coverage", sa.Float(), nullable=False),
        sa.Column("use", sa.String(16), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judged_wholes")),
        sa.ForeignKeyConstraint(["assessment_id"], ["assessments.id"], name=op.f("fk_judged_wholes_assessment_id")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_judged_wholes_department_id")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_judged_wholes_system_id")),
        sa.UniqueConstraint("assessment_id", "department_id", name=op.f("uq_judged_wholes_assessment_id_department_id")),
        sa.UniqueConstraint("assessment_id", "system_id", name=op.f("uq_judged_wholes_assessment_id_system_id")),
    )


def downgrade() -> None:
    op.drop_table("judged_wholes")
    op.drop_table("measured_uses")

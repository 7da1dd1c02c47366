"""Funded projects and the systems that they are for.

Locks: nothing; new tables. Back: the register of projects goes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0130"
down_revision = "0140"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "funded_projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("approval_number", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("funds", sa.Numeric(precision=16, scale=2), nullable=False),
        sa.Column("funding", sa.String(length=128), nullable=False),
        sa.Column("approved_on", sa.Date(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("accepted_on", sa.Date(), nullable=True),
        sa.Column("ended_on", sa.Date(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint("accepted_on IS NULL OR ended_on IS NULL", name=op.f("ck_funded_projects_closed")),
        sa.CheckConstraint("due_on >= approved_on", name=op.f("ck_funded_projects_days")),
        sa.CheckConstraint("funds >= 0", name=op.f("ck_funded_projects_funds")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_funded_projects_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_funded_projects")),
        sa.UniqueConstraint("approval_number", name=op.f("uq_funded_projects_approval_number")),
    )
    op.create_index(op.f("ix_funded_projects_department_id"), "funded_projects", ["department_id"], unique=False)
    op.create_index(op.f("ix_funded_projects_due_on"), "funded_projects", ["due_on"], unique=False)
    op.create_table(
        "funded_project_systems",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["funded_projects.id"], name=op.f("fk_funded_project_systems_project_id")
        ),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_funded_project_systems_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_funded_project_systems")),
        sa.UniqueConstraint("project_id", "system_id", name=op.f("uq_funded_project_systems_project_id_system_id")),
    )
    op.create_index(op.f("ix_funded_project_systems_system_id"), "funded_project_systems", ["system_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_funded_project_systems_system_id"), table_name="funded_project_systems")
    op.drop_table("funded_project_systems")
    op.drop_index(op.f("ix_funded_projects_due_on"), table_name="funded_projects")
    op.drop_index(op.f("ix_funded_projects_department_id"), table_name="funded_projects")
    op.drop_table("funded_projects")

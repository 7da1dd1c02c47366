"""Growth within the day: standing authorisations, and what the hourly looks found and did."""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "authorisations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.Column("vcpu", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("granted_by", sa.String(length=64), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.String(length=64), nullable=False),
        sa.CheckConstraint("vcpu > 0 AND memory_mb >= 0", name=op.f("ck_authorisations_ceiling")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_authorisations_department_id")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_authorisations_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authorisations")),
    )
    op.create_index(op.f("ix_authorisations_department_id"), "authorisations", ["department_id"])
    op.create_index("ix_authorisations_system_id_ends_on", "authorisations", ["system_id", "ends_on"])
    op.create_table(
        "surges",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("policy_version_id", sa.Integer(), nullable=False),
        sa.Column("sizing", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("authorisation_id", sa.Integer(), nullable=True),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("over", sa.Integer(), nullable=False),
        sa.Column("top", sa.Float(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Float(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["authorisation_id"], ["authorisations.id"], name=op.f("fk_surges_authorisation_id")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_surges_case_id")),
        sa.ForeignKeyConstraint(["policy_version_id"], ["policy_versions.id"], name=op.f("fk_surges_policy_version_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_surges_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_surges")),
        sa.UniqueConstraint("resource_id", "at", name=op.f("uq_surges_resource_id_at")),
    )
    op.create_index(op.f("ix_surges_case_id"), "surges", ["case_id"])
    for statement in append_only_ddl("surges")[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in drop_append_only_ddl("surges")[op.get_bind().dialect.name]:
        op.execute(statement)
    op.drop_table("surges")
    op.drop_table("authorisations")

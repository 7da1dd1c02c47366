"""Tiers of systems, and machines added to them for a time.

Locks: nothing that is there; three tables are new. Back: what was declared and lent is forgotten; machines
that were added stay, each its department's own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0140"
down_revision = "0122"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tiers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("balancer", sa.String(200), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("declared_by", sa.String(64), nullable=False),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_by", sa.String(64), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("most BETWEEN 0 AND 20 AND generation > 0", name=op.f("ck_tiers_sane")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_tiers_system_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_tiers_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tiers")),
    )
    op.create_index(op.f("ix_tiers_system_id"), "tiers", ["system_id"])
    op.create_table(
        "tier_members",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_tier_members_tier_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_tier_members_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tier_members")),
    )
    op.create_index(op.f("ix_tier_members_tier_id"), "tier_members", ["tier_id"])
    op.create_index(
        "uq_tier_members_resource_id",
        "tier_members",
        ["resource_id"],
        unique=True,
        sqlite_where=sa.text("left_at IS NULL"),
        postgresql_where=sa.text("left_at IS NULL"),
    )
    op.create_table(
        "scale_outs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("policy_version_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("machines", sa.Integer(), nullable=False),
        sa.Column("load", sa.Float(), nullable=False),
        sa.Column("shape", sa.JSON(), nullable=False),
        sa.Column("why", sa.String(16), nullable=False),
        sa.Column("authorisation_id", sa.Integer(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("needed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.String(64), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("order_key", sa.String(64), nullable=True),
        sa.Column("resource_id", sa.Integer(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("joined_by", sa.String(64), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leave_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("left_by", sa.String(64), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request_id", sa.Integer(), nullable=True),
        sa.Column("filed", sa.Integer(), nullable=False),
        sa.Column("ending", sa.String(12), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'closed') = (ending IS NOT NULL)", name=op.f("ck_scale_outs_ended")),
        sa.CheckConstraint("generation > 0 AND filed >= 0", name=op.f("ck_scale_outs_sane")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_scale_outs_tier_id")),
        sa.ForeignKeyConstraint(["policy_version_id"], ["policy_versions.id"], name=op.f("fk_scale_outs_policy_version_id")),
        sa.ForeignKeyConstraint(["authorisation_id"], ["authorisations.id"], name=op.f("fk_scale_outs_authorisation_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_scale_outs_resource_id")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_scale_outs_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scale_outs")),
        sa.UniqueConstraint("order_key", name=op.f("uq_scale_outs_order_key")),
        sa.UniqueConstraint("tier_id", "at", name=op.f("uq_scale_outs_tier_id_at")),
    )
    op.create_index(op.f("ix_scale_outs_resource_id"), "scale_outs", ["resource_id"])
    op.create_index("ix_scale_outs_state_due_at", "scale_outs", ["state", "due_at"])


def downgrade() -> None:
    op.drop_table("scale_outs")
    op.drop_table("tier_members")
    op.drop_table("tiers")

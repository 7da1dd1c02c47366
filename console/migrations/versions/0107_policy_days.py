"""What each local day was like under the policy version in force: reckoned by a job, shown in sums.

Locks: nothing; one new table. Back: it goes; the job reckons it anew from the lake.
"""

import sqlalchemy as sa
from alembic import op

revision = "0107"
down_revision = "0100"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_days",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("policy_version_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("machines", sa.Integer(), nullable=False),
        sa.Column("known_s", sa.BigInteger(), nullable=False),
        sa.Column("ceiling_s", sa.BigInteger(), nullable=False),
        sa.Column("growths", sa.Integer(), nullable=False),
        sa.Column("returned", sa.Integer(), nullable=False),
        sa.Column("lent_core_s", sa.BigInteger(), nullable=False),
        sa.Column("avoided_s", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_version_id"], ["policy_versions.id"], name=op.f("fk_policy_days_policy_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_days")),
        sa.UniqueConstraint("policy_version_id", "day", name=op.f("uq_policy_days_policy_version_id_day")),
    )
    op.create_index(op.f("ix_policy_days_day"), "policy_days", ["day"])


def downgrade() -> None:
    op.drop_index(op.f("ix_policy_days_day"), "policy_days")
    op.drop_table("policy_days")

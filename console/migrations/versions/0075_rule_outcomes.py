"""Approval rules that let pass or do not allow, and drafts of rules that two people sign.

Locks: approval_rules, for the moment in which two columns are added; beside it a new table. Back: drafts go; rules that let
pass or do not allow stay as rules without steps, which repeals them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0075"
down_revision = "0081"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
RESEALS = ("approval_rules",)


def upgrade() -> None:
    op.add_column("approval_rules", sa.Column("outcome", sa.String(8), nullable=False, server_default="sign"))
    op.add_column("approval_rules", sa.Column("reason", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "rule_drafts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("based_on", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signatures", sa.JSON(), nullable=False),
        sa.Column("drafted_by", sa.String(64), nullable=False),
        sa.Column("drafted_at", MOMENT, nullable=False),
        sa.Column("enacted_at", MOMENT, nullable=True),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("withdrawn_by", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule_drafts")),
    )


def downgrade() -> None:
    op.drop_table("rule_drafts")
    with op.batch_alter_table("approval_rules") as table:
        table.drop_column("reason")
        table.drop_column("outcome")

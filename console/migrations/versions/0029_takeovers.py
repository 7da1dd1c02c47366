"""What was taken over for a department, resting on which document, by whom.

Locks: none of what stands (a new table). Back: the new tables go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "takeovers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("document", sa.String(200), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("proposed_by", sa.String(64), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.String(64), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("(decided_at IS NULL) = (state = 'proposed')", name=op.f("ck_takeovers_decided")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_takeovers_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_takeovers")),
        sa.UniqueConstraint("key", name=op.f("uq_takeovers_key")),
    )
    op.create_index(op.f("ix_takeovers_department_id"), "takeovers", ["department_id"])
    op.create_index(op.f("ix_takeovers_state"), "takeovers", ["state"])


def downgrade() -> None:
    op.drop_table("takeovers")

"""Orders to rectify, and every step of theirs.

Locks: nothing; new tables. Back: both go, with all that was ordered, planned, proven and ruled.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0068"
down_revision = "0076"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
GUARDED = ("rectification_steps",)


def upgrade() -> None:
    op.create_table(
        "rectifications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("title", sa.String(256), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("ordered_at", MOMENT, nullable=False),
        sa.Column("ordered_by", sa.String(64), nullable=False),
        sa.Column("handed_in_at", MOMENT, nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rectifications")),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["cloud_providers.id"], name=op.f("fk_rectifications_provider_id")
        ),
    )
    op.create_index("ix_rectifications_provider_id_due_at", "rectifications", ["provider_id", "due_at"])
    op.create_index("ix_rectifications_state_due_at", "rectifications", ["state", "due_at"])
    op.create_index("ix_rectifications_ordered_at_id", "rectifications", ["ordered_at", "id"])
    op.create_index(op.f("ix_rectifications_source"), "rectifications", ["source"])
    op.create_table(
        "rectification_steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rectification_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rectification_steps")),
        sa.ForeignKeyConstraint(
            ["rectification_id"], ["rectifications.id"], name=op.f("fk_rectification_steps_rectification_id")
        ),
    )
    op.create_index(op.f("ix_rectification_steps_rectification_id"), "rectification_steps", ["rectification_id"])
    op.create_index(op.f("ix_rectification_steps_at"), "rectification_steps", ["at"])
    for table in GUARDED:
        for statement in append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)


def downgrade() -> None:
    for table in GUARDED:
        for statement in drop_append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)
    op.drop_table("rectification_steps")
    op.drop_table("rectifications")

"""Anchors, and where each was published.

Locks: none of what stands (new tables). Back: the anchors go; those that were published stay where they are.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0057"
down_revision = "0055"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "anchors",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("sealings", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_anchors")),
    )
    op.create_table(
        "anchor_publications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("anchor", sa.Integer(), nullable=False),
        sa.Column("way", sa.String(12), nullable=False),
        sa.Column("target", sa.String(500), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("said", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_anchor_publications")),
        sa.ForeignKeyConstraint(["anchor"], ["anchors.sequence"], name=op.f("fk_anchor_publications_anchor")),
    )
    op.create_index(op.f("ix_anchor_publications_anchor"), "anchor_publications", ["anchor"])
    op.create_index("ix_anchor_publications_state_next_try_at", "anchor_publications", ["state", "next_try_at"])
    for statement in append_only_ddl("anchors")[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("anchor_publications")
    for statement in drop_append_only_ddl("anchors")[op.get_bind().dialect.name]:
        op.execute(statement)
    op.drop_table("anchors")

"""Acts on many cases that are alike, and what became of each.

Locks: none of what stands (new tables). Back: the new tables go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0034"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "case_batches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("act", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("policy_version_id", sa.Integer(), nullable=False),
        sa.Column("matter", sa.String(12), nullable=True),
        sa.Column("decision", sa.String(8), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["policy_version_id"], ["policy_versions.id"], name=op.f("fk_case_batches_policy_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_batches")),
        sa.UniqueConstraint("key", name=op.f("uq_case_batches_key")),
    )
    op.create_table(
        "case_batch_items",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(12), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.Column("notice_id", sa.Integer(), nullable=True),
        sa.Column("at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["case_batches.id"], name=op.f("fk_case_batch_items_batch_id")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_case_batch_items_case_id")),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name=op.f("fk_case_batch_items_notice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_batch_items")),
        sa.UniqueConstraint("batch_id", "case_id", name=op.f("uq_case_batch_items_batch_id_case_id")),
    )
    op.create_index("ix_case_batch_items_batch_id_place", "case_batch_items", ["batch_id", "place"])
    op.create_index(op.f("ix_case_batch_items_case_id"), "case_batch_items", ["case_id"])


def downgrade() -> None:
    op.drop_table("case_batch_items")
    op.drop_table("case_batches")

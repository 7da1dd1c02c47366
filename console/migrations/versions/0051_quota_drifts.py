"""Where the quotas of clouds differ from the book.

Locks: none of what stands (a new table). Back: the new tables go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "quota_drifts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("drift", sa.String(12), nullable=False),
        sa.Column("book", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("most", sa.BigInteger(), nullable=True),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_drifts")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_quota_drifts_pool_id")),
        sa.UniqueConstraint("pool_id", "subject", "kind", name=op.f("uq_quota_drifts_pool_id_subject_kind")),
    )
    op.create_index("ix_quota_drifts_pool_id_since", "quota_drifts", ["pool_id", "since", "id"])


def downgrade() -> None:
    op.drop_table("quota_drifts")

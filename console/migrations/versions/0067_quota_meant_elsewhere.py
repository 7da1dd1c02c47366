"""Where the book gave what a cloud has in another pool.

Locks: quota_drifts for a moment (a column that may be empty; SQLite writes the table anew). Back: the column goes, with what it holds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0067"
down_revision = "0066"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("quota_drifts") as table:
        table.add_column(sa.Column("meant_pool_id", sa.Integer(), nullable=True))
        table.create_foreign_key(op.f("fk_quota_drifts_meant_pool_id"), "pools", ["meant_pool_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("quota_drifts") as table:
        table.drop_constraint(op.f("fk_quota_drifts_meant_pool_id"), type_="foreignkey")
        table.drop_column("meant_pool_id")

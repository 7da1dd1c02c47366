"""What came of what was due, by pool and closed day.

Locks: none, the table is new. Back: the table goes; the page of the lake reckons it at every view.
"""

import sqlalchemy as sa
from alembic import op

revision = "0229"
down_revision = "0223"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "coverage_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("came", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_coverage_days_pool_id")),
        sa.PrimaryKeyConstraint("day", "pool_id", name=op.f("pk_coverage_days")),
    )


def downgrade() -> None:
    op.drop_table("coverage_days")

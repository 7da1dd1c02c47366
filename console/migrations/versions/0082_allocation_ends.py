"""The ends of quota that was given for a time: when its receiver was told of it, and when it came while part was in use.

Locks: allocations for a moment (columns that may be empty, one with a default). Back: what was told is forgotten.
"""

import sqlalchemy as sa
from alembic import op

revision = "0082"
down_revision = "0073"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("allocations", sa.Column("told_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("allocations", sa.Column("overdue_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("allocations", sa.Column("generation", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    for name in ("generation", "overdue_at", "told_at"):
        op.drop_column("allocations", name)

"""Promises for a day to come that others may go before: since when, and why.

Locks: commitments for a moment, to add two columns, one with a constant default. Back: what waits is waited for by none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0207"
down_revision = "0204"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("commitments", sa.Column("passed_over_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("commitments", sa.Column("passed_over_for", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("commitments", "passed_over_for")
    op.drop_column("commitments", "passed_over_at")

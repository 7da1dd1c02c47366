"""Calls of an order's plan that stop what runs, though its verb does not say so.

Locks: order_calls, for a moment; the default rewrites nothing. Back: the marks go, and such orders are not counted under the hourly ceiling.
"""

import sqlalchemy as sa
from alembic import op

revision = "0110"
down_revision = "0107"
branch_labels = None
depends_on = None

RESEALS = ("order_calls",)


def upgrade() -> None:
    op.add_column("order_calls", sa.Column("stops", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("order_calls", "stops")

"""When the cloud of a work order was told last, so that what is told again counts under the hourly ceiling.

Locks: work_orders, for a moment; nothing is rewritten. Back: the times go, and what is told again is not counted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0122"
down_revision = "0151"
branch_labels = None
depends_on = None

RESEALS = ("work_orders",)


def upgrade() -> None:
    op.add_column("work_orders", sa.Column("told_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("work_orders", "told_at")

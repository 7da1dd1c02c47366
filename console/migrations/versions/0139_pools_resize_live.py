"""Whether a pool changes the size of running machines, as its adapter says at each listing.

Locks: pools, for a moment; nothing is rewritten. Back: what is not known is told by the next listing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0139"
down_revision = "0111"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pools", sa.Column("live_resize", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("pools", "live_resize")

"""Who handed a listing in.

Locks: inventory_listings, for the moment in which a column is added. Back: the column goes, with what it holds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inventory_listings", sa.Column("taken_by", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("inventory_listings", "taken_by")

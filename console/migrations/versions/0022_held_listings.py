"""Listings that would end a large part of their pool: what they lack is held until a person has looked.

Locks: inventory_listings, while columns are added (SQLite: copied; a row a listing). Back: the columns go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inventory_listings", sa.Column("missing", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("inventory_listings", sa.Column("held", sa.String(12), nullable=False, server_default=""))
    op.add_column("inventory_listings", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("inventory_listings", sa.Column("decided_by", sa.String(64), nullable=False, server_default=""))
    op.add_column("inventory_listings", sa.Column("reason", sa.String(500), nullable=False, server_default=""))


def downgrade() -> None:
    for column in ("reason", "decided_by", "decided_at", "held", "missing"):
        op.drop_column("inventory_listings", column)

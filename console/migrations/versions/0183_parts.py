"""What of the catalogue is a part, and of what.

Locks: catalog_items for a moment, to add a column with a constant default. Back: parts stand by themselves again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0183"
down_revision = "0193"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("catalog_items", sa.Column("fits", sa.JSON(), nullable=False, server_default=sa.text("'[]'")))


def downgrade() -> None:
    op.drop_column("catalog_items", "fits")

"""What clouds call the placement of slices, and how often that was said anew.

Locks: resource_classes, for a moment. Back: slices that clouds report by such a name are not known as such.
"""

import sqlalchemy as sa
from alembic import op

revision = "0208"
down_revision = "0207"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("resource_classes", sa.Column("profiles", sa.Text(), nullable=False, server_default=""))
    op.add_column("resource_classes", sa.Column("named", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("resource_classes", "named")
    op.drop_column("resource_classes", "profiles")

"""What an attachment is, by the name that rules ask for it.

Locks: attachments, for the moment that a column with a default takes. Back: the names go.
"""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

RESEALS = ("attachments",)


def upgrade() -> None:
    op.add_column("attachments", sa.Column("label", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("attachments", "label")

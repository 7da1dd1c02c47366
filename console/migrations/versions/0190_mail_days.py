"""The day that a mail about an end was written for, so that another day of the same thing is written about as well.

Locks: mail_items, for a moment. Back: the column goes; what ends on another day than before is then not written about again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0190"
down_revision = "0184"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("mail_items", sa.Column("day", sa.Date(), nullable=True))


def downgrade() -> None:
    op.drop_column("mail_items", "day")

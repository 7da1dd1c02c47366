"""In which currency a line of a bill is, and whom it bills.

Locks: bill_lines for a moment, to add two columns with constant defaults. Back: both go; lines in another currency are read as yuan.
"""

import sqlalchemy as sa
from alembic import op

revision = "0217"
down_revision = "0208"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bill_lines", sa.Column("currency", sa.String(length=3), nullable=False, server_default="CNY"))
    op.add_column("bill_lines", sa.Column("payer", sa.String(length=128), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("bill_lines", "payer")
    op.drop_column("bill_lines", "currency")

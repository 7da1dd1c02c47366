"""What kind of fault kept a pool from being read.

Locks: intakes for a moment (a column with a default; SQLite writes the table anew). Back: the column goes, with what it holds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0065"
down_revision = "0085"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("intakes") as table:
        table.add_column(sa.Column("fault_code", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("intakes") as table:
        table.drop_column("fault_code")

"""What each line of a request says for its own pieces: the zone, the system, the disks of a machine.

Locks: request_lines while the column is added; no row is rewritten. Back: what lines said for themselves is lost, what their requests said
for all stays.
"""

import sqlalchemy as sa
from alembic import op

revision = "0184"
down_revision = "0181"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("request_lines") as table:
        table.add_column(sa.Column("fields", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    with op.batch_alter_table("request_lines") as table:
        table.drop_column("fields")

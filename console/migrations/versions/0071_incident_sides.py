"""Who reported an incident: its company, the steward or a department.

Locks: incidents, for the moment in which a column with a default is added. Back: the column goes; what others reported stays and
looks as if its company had.
"""

import sqlalchemy as sa
from alembic import op

revision = "0071"
down_revision = "0083"
branch_labels = None
depends_on = None

RESEALS = ("incidents",)


def upgrade() -> None:
    op.add_column("incidents", sa.Column("side", sa.String(16), nullable=False, server_default="provider"))


def downgrade() -> None:
    with op.batch_alter_table("incidents") as table:
        table.drop_column("side")

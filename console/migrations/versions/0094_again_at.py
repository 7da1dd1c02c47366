"""When the source by which a session was opened is to be asked anew whether it still knows its person.

Locks: sign_ins, for the moment in which a column is added. Back: the column goes; sessions last as long as the settings say.
"""

import sqlalchemy as sa
from alembic import op

revision = "0094"
down_revision = "0061"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sign_ins", sa.Column("again_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("sign_ins") as table:
        table.drop_column("again_at")

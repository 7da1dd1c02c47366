"""Since when somebody works in a session without the answer of its source that was due.

Locks: sign_ins, for the moment in which a column is added. Back: the column goes; the time to answer runs from when it was due.
"""

import sqlalchemy as sa
from alembic import op

revision = "0112"
down_revision = "0119"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sign_ins", sa.Column("unheard_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("sign_ins") as table:
        table.drop_column("unheard_at")

"""Notices about requests to one person alone: who is handed a step, and whose step was handed on.

Locks: request_notices for a moment, to add a column without a default. Back: such notices are read by all of their party.
"""

import sqlalchemy as sa
from alembic import op

revision = "0206"
down_revision = "0211"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("request_notices", sa.Column("login", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("request_notices", "login")

"""Requests that move the term of an earlier one."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("requests", sa.Column("extends_id", sa.Integer(), nullable=True))
    op.create_index("ix_requests_extends_id", "requests", ["extends_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_requests_extends_id", table_name="requests")
    op.drop_column("requests", "extends_id")

"""What policy versions did counts machines that tiers were given: how many came and went a day, and their vCPU times seconds.

Locks: policy_days, for a moment; days that were reckoned before count none, and the last seven are reckoned anew each night. Back: the
columns go, and with them what was counted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0171"
down_revision = "0161"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("policy_days", sa.Column("added", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("policy_days", sa.Column("taken_back", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("policy_days", sa.Column("added_core_s", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("policy_days", "added_core_s")
    op.drop_column("policy_days", "taken_back")
    op.drop_column("policy_days", "added")

"""How far a system's data must be protected, and by when it is to run on domestic chips.

Locks: systems, for a moment; the default rewrites nothing. Back: both are lost; the trail keeps what was said.
"""

import sqlalchemy as sa
from alembic import op

revision = "0143"
down_revision = "0139"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("systems", sa.Column("data_level", sa.String(12), nullable=False, server_default=""))
    op.add_column("systems", sa.Column("xinchuang_by", sa.Date(), nullable=True))


def downgrade() -> None:
    op.drop_column("systems", "xinchuang_by")
    op.drop_column("systems", "data_level")

"""How far the second reading of the days before has come, of pools and of feeds.

Locks: intakes and feeds, each for a moment; the defaults rewrite nothing. Back: a second reading that was begun begins anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0119"
down_revision = "0110"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("intakes", "feeds"):
        op.add_column(name, sa.Column("second", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    for name in ("feeds", "intakes"):
        op.drop_column(name, "second")

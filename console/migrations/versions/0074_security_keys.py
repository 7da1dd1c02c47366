"""Second factors have a name that their person gave them: somebody may have several security keys.

Locks: a column with a constant is added to ``second_factors`` (its rows are not rewritten on PostgreSQL 11 and later; milliseconds).
Back: security keys go, and names; whoever had no other factor enrols anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0074"
down_revision = "0065"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("second_factors", sa.Column("name", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.execute("DELETE FROM second_factors WHERE kind = 'webauthn'")
    with op.batch_alter_table("second_factors") as table:
        table.drop_column("name")

"""Second factors have a name that their person gave them: somebody may have several security keys.

Locks: a column with a constant is added to ``second_factors`` (its rows are not rewritten on PostgreSQL 11 and later; milliseconds).
Back: names go. No way back once somebody has enrolled a security key: its row is sealed, and is not deleted behind the seals' back.
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
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM second_factors WHERE kind = 'webauthn'")):
        raise RuntimeError("no way back below 0074: security keys are enrolled; remove them first, or restore a backup")
    with op.batch_alter_table("second_factors") as table:
        table.drop_column("name")

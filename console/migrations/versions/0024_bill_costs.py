"""A bill line's money to a millionth of a yuan, as companies write it, instead of to the fen.

Locks: bill_lines, rewritten once for its wider figures. Back: figures are rounded to the fen again.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def _retype(old: sa.types.TypeEngine, new: sa.types.TypeEngine) -> None:
    with op.batch_alter_table("bill_lines") as batch:
        batch.alter_column("cost", existing_type=old, type_=new, existing_nullable=True)
    if op.get_bind().dialect.name == "sqlite":  # there the table was made anew, without its guards
        for statement in append_only_ddl("bill_lines")["sqlite"]:
            op.execute(statement)


def upgrade() -> None:
    _retype(sa.Numeric(16, 2), sa.Numeric(16, 6))


def downgrade() -> None:
    _retype(sa.Numeric(16, 6), sa.Numeric(16, 2))

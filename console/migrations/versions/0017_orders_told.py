"""Orders know whether their cloud may have taken them."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLE = "work_orders"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("told", sa.Boolean(), nullable=False, server_default=sa.false()))
    orders = sa.table(
        TABLE,
        sa.column("told", sa.Boolean),
        sa.column("state", sa.String),
        sa.column("by_hand", sa.Boolean),
        sa.column("attempts", sa.Integer),
        sa.column("refusals", sa.Integer),
    )
    # Of what was tried and not refused nobody wrote down whether the cloud took it: it is asked.
    tried = sa.and_(orders.c.state.in_(["pending", "failed"]), orders.c.attempts > orders.c.refusals)
    at_cloud = sa.or_(orders.c.state.in_(["sent", "delivering"]), tried)
    op.execute(orders.update().where(orders.c.by_hand.is_(sa.false()), at_cloud).values(told=True))


def downgrade() -> None:
    op.drop_column(TABLE, "told")

"""Lines of a statement in the order of their list, the dearest first and those without a price last; resources of a letter as they
were written down.

Locks: statement_lines and inquiry_items, against writers, for as long as their index takes to build. Back: the indices go.
"""

import sqlalchemy as sa
from alembic import op

revision = "0209"
down_revision = "0217"
branch_labels = None
depends_on = None

DEAREST, WRITTEN = "ix_statement_lines_run_id_dearest", "ix_inquiry_items_inquiry_id_id"
FALLING = {
    "sqlite": ["cost_fen", "id"],  # read from its end
    "postgresql": [sa.text("cost_fen DESC NULLS LAST"), sa.text("id DESC")],
}


def upgrade() -> None:
    op.create_index(DEAREST, "statement_lines", ["run_id", *FALLING[op.get_bind().dialect.name]])
    op.create_index(WRITTEN, "inquiry_items", ["inquiry_id", "id"])


def downgrade() -> None:
    op.drop_index(WRITTEN, table_name="inquiry_items")
    op.drop_index(DEAREST, table_name="statement_lines")

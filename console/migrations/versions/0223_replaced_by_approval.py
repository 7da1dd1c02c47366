"""What a step may approve otherwise than asked for, and the catalogue item that stands in place of a line's.

Locks: request_steps and request_lines for a moment, to add a column each. Back: both go; refused where a line was given another item,
whose order would be told what was asked for.
"""

import sqlalchemy as sa
from alembic import op

revision = "0223"
down_revision = "0222"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("request_steps", sa.Column("replaces", sa.JSON(), nullable=False, server_default=sa.text("'[]'")))
    # In plain words, which both databases know: for a column with a reference SQLite would make the table anew.
    op.execute(
        "ALTER TABLE request_lines ADD COLUMN approved_item_id INTEGER "
        "CONSTRAINT fk_request_lines_approved_item_id REFERENCES catalog_items (id)"
    )


def downgrade() -> None:
    held = op.get_bind().scalar(sa.text("SELECT count(*) FROM request_lines WHERE approved_item_id IS NOT NULL"))
    if held:
        raise RuntimeError("no way back below 0223: lines were approved as another item than asked for")
    op.execute("ALTER TABLE request_lines DROP COLUMN approved_item_id")
    op.drop_column("request_steps", "replaces")

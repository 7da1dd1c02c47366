"""Files that wait to be told of: beside a pool's listing its usage.

Locks: held_sheets, made anew: a row a file that waits. Back: files of usage that wait are forgotten.
"""

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0056"
branch_labels = None
depends_on = None

OTHERS = "file, digest, said, held_at, content"


def upgrade() -> None:
    _anew("'inventory'", sa.Column("purpose", sa.String(16), nullable=False))


def downgrade() -> None:
    op.execute("DELETE FROM held_sheets WHERE purpose <> 'inventory'")
    _anew("")


def _anew(purpose: str, *more: sa.Column) -> None:
    """The table with another key, and what it holds: SQLite changes no key of a table that is there."""
    op.execute(f"CREATE TABLE held_sheets_kept AS SELECT pool_id, {OTHERS} FROM held_sheets")
    op.drop_table("held_sheets")
    op.create_table(
        "held_sheets",
        sa.Column("pool_id", sa.Integer(), nullable=False),
        *more,
        sa.Column("file", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_held_sheets_pool_id")),
        sa.PrimaryKeyConstraint("pool_id", *(one.name for one in more), name=op.f("pk_held_sheets")),
    )
    names, values = ("purpose, ", f"{purpose}, ") if more else ("", "")
    op.execute(f"INSERT INTO held_sheets (pool_id, {names}{OTHERS}) SELECT pool_id, {values}{OTHERS} FROM held_sheets_kept")
    op.drop_table("held_sheets_kept")

"""Entries of the search: what departments, systems, resources, requests, orders and cases are called.

Locks: nothing; the entries of what there is are written when the book's seals are looked after, some seconds for 100,000. Back: the
table goes, with what stands beside it.
"""

import sqlalchemy as sa
from alembic import op

from quota.search.entries import GRAMS_DDL, NO_GRAMS_DDL

revision = "0175"
down_revision = "0170"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "search_entries",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("ref", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(256), nullable=False),
        sa.Column("detail", sa.String(512), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=True),
        sa.Column("pool_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(24), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_entries")),
    )
    for statement in GRAMS_DDL[op.get_context().dialect.name]:
        op.execute(sa.text(statement))


def downgrade() -> None:
    for statement in NO_GRAMS_DDL[op.get_context().dialect.name]:
        op.execute(sa.text(statement))
    op.drop_table("search_entries")

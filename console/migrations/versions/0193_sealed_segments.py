"""Segments of the chains that were found right are sealed; a verification keeps which of its parts found something, and within how
many nights the rest is read.

Locks: nothing; ``verification_runs``, a short table, gets two columns. Back: the segments go, and with them what was not to be
walked again; the chains and their seals stay.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0193"
down_revision = "0200"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sealed_segments",
        sa.Column("chain", sa.String(24), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("links", sa.Integer(), nullable=False),
        sa.Column("ends_with", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("chain", "number", name=op.f("pk_sealed_segments")),
    )
    for statement in append_only_ddl("sealed_segments")[op.get_bind().dialect.name]:
        op.execute(statement)
    op.add_column("verification_runs", sa.Column("wrong", sa.JSON(), nullable=False, server_default=sa.text("'[]'")))
    op.add_column("verification_runs", sa.Column("nights", sa.Integer(), nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    with op.batch_alter_table("verification_runs") as table:
        table.drop_column("nights")
        table.drop_column("wrong")
    for statement in drop_append_only_ddl("sealed_segments")[op.get_bind().dialect.name]:
        op.execute(statement)
    op.drop_table("sealed_segments")

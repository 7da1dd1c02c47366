"""Seals of rows: their chain, its head, and which columns they cover.

Four new tables, nothing old is touched. What is in the book is sealed as it is found once all migrations have run
(``upgrade.migrate``): on SQLite some 12,000 rows a second (measured on two busy cores), during which nobody
else writes.

Locks: none of what stands (new tables); what stands is sealed at the next start, which reads every row once. Back: the seals go.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0056"
down_revision = "0060"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
GUARDED = ("sealings", "row_seals", "seal_layouts")


def upgrade() -> None:
    op.create_table(
        "sealings",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("record", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("as_found", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_sealings")),
    )
    op.create_table(
        "row_seals",
        sa.Column("place", sa.String(64), nullable=False),
        sa.Column("key", sa.String(256), nullable=False),
        sa.Column("sealing", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("layout", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("hints", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("place", "key", "sealing", name=op.f("pk_row_seals")),
    )
    op.create_index("ix_row_seals_sealing", "row_seals", ["sealing"])
    op.create_table(
        "seal_layouts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(64), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seal_layouts")),
    )
    op.create_index("ix_seal_layouts_place", "seal_layouts", ["place"])
    op.create_table(
        "seal_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_seal_head_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seal_head")),
    )
    for name in GUARDED:
        for statement in append_only_ddl(name)[op.get_bind().dialect.name]:
            op.execute(statement)


def downgrade() -> None:
    for name in GUARDED:
        for statement in drop_append_only_ddl(name)[op.get_bind().dialect.name]:
            op.execute(statement)
    for name in ("seal_head", "seal_layouts", "row_seals", "sealings"):
        op.drop_table(name)

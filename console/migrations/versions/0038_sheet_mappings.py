"""How the sheets of a pool are read, version by version, and the files that wait to be told of.

Locks: none of what stands (new tables). Back: the new tables go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0038"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sheet_mappings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("header", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("mapping", sa.JSON(), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_sheet_mappings_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sheet_mappings")),
        sa.UniqueConstraint(
            "pool_id", "header", "version", name=op.f("uq_sheet_mappings_pool_id_header_version")
        ),
    )
    op.create_index(op.f("ix_sheet_mappings_made_at"), "sheet_mappings", ["made_at"])
    op.create_table(
        "held_sheets",
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("file", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_held_sheets_pool_id")),
        sa.PrimaryKeyConstraint("pool_id", name=op.f("pk_held_sheets")),
    )
    for statement in append_only_ddl("sheet_mappings")[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in drop_append_only_ddl("sheet_mappings")[op.get_bind().dialect.name]:
        op.execute(statement)
    op.drop_table("held_sheets")
    op.drop_table("sheet_mappings")

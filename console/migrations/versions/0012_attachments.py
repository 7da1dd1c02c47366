"""Files put forward as evidence."""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

GUARDED = ("file_contents", "attachments")


def upgrade() -> None:
    op.create_table(
        "staged_files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staged_files")),
        sa.UniqueConstraint("token", name=op.f("uq_staged_files_token")),
    )
    op.create_index(op.f("ix_staged_files_by"), "staged_files", ["by"], unique=False)
    op.create_index(op.f("ix_staged_files_at"), "staged_files", ["at"], unique=False)
    op.create_table(
        "file_contents",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_file_contents")),
    )
    op.create_table(
        "attachments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["file_contents.digest"], name=op.f("fk_attachments_digest")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
    )
    op.create_index(op.f("ix_attachments_subject"), "attachments", ["subject"], unique=False)
    op.add_column("case_rulings", sa.Column("attachments", sa.JSON(), server_default="[]", nullable=False))
    for name in GUARDED:
        for statement in append_only_ddl(name)[op.get_bind().dialect.name]:
            op.execute(statement)


def downgrade() -> None:
    dialect = op.get_bind().dialect.name
    for name in GUARDED:
        for statement in drop_append_only_ddl(name)[dialect]:
            op.execute(statement)
    op.drop_column("case_rulings", "attachments")
    for name in ("attachments", "file_contents", "staged_files"):
        op.drop_table(name)

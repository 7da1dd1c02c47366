"""Findings that the book no longer keeps lie in the lake: which, and that they alone may be deleted.

Locks: cases and awaited_cases while an index of each is built; findings for the moment in which their trigger is put in another's
place. Back: the table and the indexes go. No way back once findings were archived: they are no longer in the book.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0151"
down_revision = "0129"
branch_labels = None
depends_on = None

ARCHIVED = "finding_archives.assessment_id"
REFERRING = (("cases", "finding_id"), ("cases", "fresh_finding_id"), ("awaited_cases", "finding_id"))


def upgrade() -> None:
    op.create_table(
        "finding_archives",
        sa.Column("assessment_id", sa.Integer(), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_by", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["assessment_id"], ["assessments.id"], name=op.f("fk_finding_archives_assessment_id")),
        sa.PrimaryKeyConstraint("assessment_id", name=op.f("pk_finding_archives")),
    )
    op.create_index(op.f("ix_finding_archives_last_id"), "finding_archives", ["last_id"])
    for table, column in REFERRING:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
    dialect = op.get_context().dialect.name
    for statement in (
        *drop_append_only_ddl("findings")[dialect],
        *append_only_ddl("findings", ARCHIVED)[dialect],
        *append_only_ddl("finding_archives")[dialect],
    ):
        op.execute(sa.text(statement.replace(":", "\\:")))


def downgrade() -> None:
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM finding_archives")):
        raise RuntimeError("no way back below 0151: findings were archived; restore a backup of before")
    dialect = op.get_context().dialect.name
    if dialect == "postgresql":
        op.execute("DROP TRIGGER findings_archived_only ON findings")
    for statement in (*drop_append_only_ddl("findings")[dialect], *append_only_ddl("findings")[dialect]):
        op.execute(sa.text(statement.replace(":", "\\:")))
    if dialect == "postgresql":
        op.execute("DROP FUNCTION guanjia_findings_archived()")
    for table, column in reversed(REFERRING):
        op.drop_index(op.f(f"ix_{table}_{column}"), table)
    op.drop_index(op.f("ix_finding_archives_last_id"), "finding_archives")
    op.drop_table("finding_archives")

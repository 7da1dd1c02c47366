"""Editions of reports, and the inputs that each rests on.

Locks: none of what stands (new tables). Back: editions and their inputs go; files that were drawn from them stay where they are.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0073"
down_revision = "0070"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
GUARDED = ("report_inputs", "report_editions")


def upgrade() -> None:
    op.create_table(
        "report_inputs",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_report_inputs")),
    )
    op.create_table(
        "report_editions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(12), nullable=False),
        sa.Column("scope_id", sa.Integer(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("inputs_digest", sa.String(64), nullable=False),
        sa.Column("known_at", MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_editions")),
        sa.ForeignKeyConstraint(
            ["inputs_digest"], ["report_inputs.digest"], name=op.f("fk_report_editions_inputs_digest")
        ),
        sa.UniqueConstraint(
            "scope",
            "scope_id",
            "first_day",
            "last_day",
            "number",
            name=op.f("uq_report_editions_scope_scope_id_first_day_last_day_number"),
        ),
    )
    op.create_index(op.f("ix_report_editions_inputs_digest"), "report_editions", ["inputs_digest"])
    for table in GUARDED:
        for statement in append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)


def downgrade() -> None:
    for table in GUARDED:
        for statement in drop_append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)
    op.drop_table("report_editions")
    op.drop_table("report_inputs")

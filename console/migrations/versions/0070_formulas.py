"""Assessment formulas that a city enacts, and drafts of them.

Locks: nothing that is there; two new tables. Back: enacted formulas and drafts go; cards keep the formula that they were
scored by.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0070"
down_revision = "0078"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
GUARDED = ("assessment_formulas",)


def upgrade() -> None:
    op.create_table(
        "assessment_formulas",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(96), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("contract", sa.String(64), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("rescored", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("drafted_by", sa.String(64), nullable=False),
        sa.Column("enacted_by", sa.String(64), nullable=False),
        sa.Column("enacted_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assessment_formulas")),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["cloud_providers.id"], name=op.f("fk_assessment_formulas_provider_id")
        ),
        sa.UniqueConstraint("code", "version", name=op.f("uq_assessment_formulas_code_version")),
        sa.CheckConstraint("version > 0", name=op.f("ck_assessment_formulas_version")),
    )
    op.create_table(
        "formula_drafts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("based_on", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("drafted_by", sa.String(64), nullable=False),
        sa.Column("drafted_at", MOMENT, nullable=False),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("enacted_id", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_formula_drafts")),
        sa.ForeignKeyConstraint(
            ["enacted_id"], ["assessment_formulas.id"], name=op.f("fk_formula_drafts_enacted_id")
        ),
    )
    op.create_index(op.f("ix_formula_drafts_code"), "formula_drafts", ["code"])
    for table in GUARDED:
        for statement in append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)


def downgrade() -> None:
    for table in GUARDED:
        for statement in drop_append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)
    op.drop_table("formula_drafts")
    op.drop_table("assessment_formulas")

"""What each statement was found to follow from."""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLE = "statement_inputs"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["statement_runs.id"], name=op.f("fk_statement_inputs_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement_inputs")),
        sa.UniqueConstraint("run_id", "month", "digest", name=op.f("uq_statement_inputs_run_id_month_digest")),
    )
    for statement in append_only_ddl(TABLE)[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in drop_append_only_ddl(TABLE)[op.get_bind().dialect.name]:
        op.execute(statement)
    op.drop_table(TABLE)

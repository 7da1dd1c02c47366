"""What came for settled months, figure by figure."""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLE = "late_figures"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("came_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("samples_before", sa.Integer(), nullable=False),
        sa.Column("samples_after", sa.Integer(), nullable=False),
        sa.Column("mean_before", sa.Float(), nullable=True),
        sa.Column("mean_after", sa.Float(), nullable=True),
        sa.Column("peak_before", sa.Float(), nullable=True),
        sa.Column("peak_after", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_late_figures_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_late_figures")),
    )
    op.create_index("ix_late_figures_month_resource_id", TABLE, ["month", "resource_id"], unique=False)
    op.create_index("ix_late_figures_day_number", TABLE, ["day", "number"], unique=False)
    for statement in append_only_ddl(TABLE)[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in drop_append_only_ddl(TABLE)[op.get_bind().dialect.name]:
        op.execute(statement)
    op.drop_table(TABLE)

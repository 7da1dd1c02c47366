"""Who has read which notice."""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notice_readings",
        sa.Column("notice_id", sa.Integer(), nullable=False),
        sa.Column("login", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["notice_id"], ["request_notices.id"], name=op.f("fk_notice_readings_notice_id")),
        sa.PrimaryKeyConstraint("notice_id", "login", name=op.f("pk_notice_readings")),
    )
    for statement in append_only_ddl("notice_readings")[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in drop_append_only_ddl("notice_readings")[op.get_bind().dialect.name]:
        op.execute(statement)
    op.drop_table("notice_readings")

"""Performance classes of what the catalogue offers, and what was measured of it.

Locks: nothing; new tables. Back: both go; statements keep the prices that they were made with.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0157"
down_revision = "0156"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "performance_classes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("catalog_item_id", sa.Integer(), nullable=False),
        sa.Column("figure", sa.String(length=64), nullable=False),
        sa.Column("least", sa.Numeric(precision=14, scale=2), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("entered_at", MOMENT, nullable=False),
        sa.Column("entered_by", sa.String(length=64), nullable=False),
        sa.CheckConstraint("least >= 0", name=op.f("ck_performance_classes_least")),
        sa.ForeignKeyConstraint(
            ["catalog_item_id"], ["catalog_items.id"], name=op.f("fk_performance_classes_catalog_item_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performance_classes")),
    )
    op.create_index(
        op.f("ix_performance_classes_catalog_item_id"), "performance_classes", ["catalog_item_id"], unique=False
    )
    for statement in append_only_ddl("performance_classes")[op.get_context().dialect.name]:
        op.execute(statement)
    op.create_table(
        "performance_tests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("catalog_item_id", sa.Integer(), nullable=False),
        sa.Column("value", sa.Numeric(precision=14, scale=2), nullable=False),
        sa.Column("measured_on", sa.Date(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("entered_at", MOMENT, nullable=False),
        sa.Column("entered_by", sa.String(length=64), nullable=False),
        sa.Column("confirmed_at", MOMENT, nullable=True),
        sa.Column("confirmed_by", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("value >= 0", name=op.f("ck_performance_tests_value")),
        sa.ForeignKeyConstraint(["provider_id"], ["cloud_providers.id"], name=op.f("fk_performance_tests_provider_id")),
        sa.ForeignKeyConstraint(
            ["catalog_item_id"], ["catalog_items.id"], name=op.f("fk_performance_tests_catalog_item_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performance_tests")),
    )
    op.create_index(op.f("ix_performance_tests_provider_id"), "performance_tests", ["provider_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_performance_tests_provider_id"), table_name="performance_tests")
    op.drop_table("performance_tests")
    for statement in drop_append_only_ddl("performance_classes")[op.get_context().dialect.name]:
        op.execute(statement)
    op.drop_index(op.f("ix_performance_classes_catalog_item_id"), table_name="performance_classes")
    op.drop_table("performance_classes")

"""Orders to rectify, what the steward records and what is said about either: of departments, systems and the steward as of companies.

Locks: rectifications, assessment_records and provider_remarks, while columns that may be empty and indexes are added (SQLite
writes the tables anew); no row is written. Back: what was ordered, recorded and said of others than companies goes.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0165"
down_revision = "0130"
branch_labels = None
depends_on = None

ONE = (
    "provider_id IS NULL AND department_id IS NULL OR provider_id IS NULL AND system_id IS NULL "
    "OR department_id IS NULL AND system_id IS NULL"
)
ADDED = {"department_id": "departments", "system_id": "systems"}
TABLES = {"rectifications": "due_at", "assessment_records": "happened_on"}
"""Table → the column that its index by subject goes on with."""
GUARDED = ("assessment_records", "provider_remarks", "rectification_steps")


def _open() -> None:
    for table in GUARDED:
        for statement in drop_append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)


def _guard() -> None:
    for table in GUARDED:
        for statement in append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)


def upgrade() -> None:
    _open()
    for name, then in TABLES.items():
        with op.batch_alter_table(name) as table:
            table.alter_column("provider_id", existing_type=sa.Integer(), nullable=True)
            for column, target in ADDED.items():
                table.add_column(sa.Column(column, sa.Integer(), nullable=True))
                table.create_foreign_key(op.f(f"fk_{name}_{column}"), target, [column], ["id"])
            table.create_check_constraint(op.f(f"ck_{name}_subject"), ONE)
        for column in ADDED:
            op.create_index(f"ix_{name}_{column}_{then}", name, [column, then])
    with op.batch_alter_table("provider_remarks") as table:
        table.alter_column("provider_id", existing_type=sa.Integer(), nullable=True)
    _guard()


def downgrade() -> None:
    _open()
    op.execute("DELETE FROM provider_remarks WHERE answers IN (SELECT id FROM provider_remarks WHERE provider_id IS NULL)")
    op.execute("DELETE FROM provider_remarks WHERE provider_id IS NULL")
    op.execute("DELETE FROM rectification_steps WHERE rectification_id IN (SELECT id FROM rectifications WHERE provider_id IS NULL)")
    op.execute("DELETE FROM rectifications WHERE provider_id IS NULL")
    op.execute("DELETE FROM assessment_records WHERE provider_id IS NULL AND withdraws IS NOT NULL")
    op.execute("DELETE FROM assessment_records WHERE provider_id IS NULL")
    with op.batch_alter_table("provider_remarks") as table:
        table.alter_column("provider_id", existing_type=sa.Integer(), nullable=False)
    for name, then in TABLES.items():
        for column in ADDED:
            op.drop_index(f"ix_{name}_{column}_{then}", table_name=name)
        with op.batch_alter_table(name) as table:
            table.drop_constraint(op.f(f"ck_{name}_subject"), type_="check")
            for column in ADDED:
                table.drop_constraint(op.f(f"fk_{name}_{column}"), type_="foreignkey")
                table.drop_column(column)
            table.alter_column("provider_id", existing_type=sa.Integer(), nullable=False)
    _guard()

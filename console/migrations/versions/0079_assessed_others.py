"""Scorecards and appeals of departments, systems and the steward beside those of companies.

Locks: scorecards and scorecard_appeals, while columns that may be empty and indexes are added (SQLite writes the tables anew); no
row is written. Back: what was scored of others than companies goes, with its marks, evidence and appeals.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0079"
down_revision = "0053"
branch_labels = None
depends_on = None

ONE = (
    "provider_id IS NULL AND department_id IS NULL OR provider_id IS NULL AND system_id IS NULL "
    "OR department_id IS NULL AND system_id IS NULL"
)
NOBODY = sa.text("provider_id IS NULL AND department_id IS NULL AND system_id IS NULL")
ADDED = {"department_id": "departments", "system_id": "systems"}
TABLES = {"scorecards": ["month", "revision"], "scorecard_appeals": ["period"]}
GUARDED = ("scorecard_marks", "scorecard_evidence")


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for name, period in TABLES.items():
        with op.batch_alter_table(name) as table:
            table.alter_column("provider_id", existing_type=sa.Integer(), nullable=True)
            for column, target in ADDED.items():
                table.add_column(sa.Column(column, sa.Integer(), nullable=True))
                table.create_foreign_key(op.f(f"fk_{name}_{column}"), target, [column], ["id"])
                if not postgresql:
                    table.create_unique_constraint(op.f(f"uq_{name}_{'_'.join([column, *period])}"), [column, *period])
            table.create_check_constraint(op.f(f"ck_{name}_subject"), ONE)
        for column in ADDED if postgresql else ():
            unique = op.f(f"uq_{name}_{'_'.join([column, *period])}")
            op.create_index(unique, name, [column, *period], unique=True)
            op.execute(f"ALTER TABLE {name} ADD CONSTRAINT {unique} UNIQUE USING INDEX {unique}")
    op.create_index(
        "uq_scorecards_steward", "scorecards", ["month", "revision"], unique=True, sqlite_where=NOBODY, postgresql_where=NOBODY
    )


def downgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.execute("DELETE FROM scorecard_appeals WHERE provider_id IS NULL")
    for name in GUARDED:
        for statement in drop_append_only_ddl(name)[dialect]:
            op.execute(statement)
        op.execute(f"DELETE FROM {name} WHERE scorecard_id IN (SELECT id FROM scorecards WHERE provider_id IS NULL)")
    op.execute("DELETE FROM scorecards WHERE provider_id IS NULL")
    op.drop_index("uq_scorecards_steward", table_name="scorecards")
    for name, period in TABLES.items():
        with op.batch_alter_table(name) as table:
            table.drop_constraint(op.f(f"ck_{name}_subject"), type_="check")
            for column in ADDED:
                table.drop_constraint(op.f(f"uq_{name}_{'_'.join([column, *period])}"), type_="unique")
                table.drop_constraint(op.f(f"fk_{name}_{column}"), type_="foreignkey")
                table.drop_column(column)
            table.alter_column("provider_id", existing_type=sa.Integer(), nullable=False)
    for name in GUARDED:
        for statement in append_only_ddl(name)[dialect]:
            op.execute(statement)

"""What ends on a day: certificates, domain names, licences, vendors and their people, with each day that was said of one.

Locks: nothing; new tables. Back: they go.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0167"
down_revision = "0175"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "dated_entries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("number", sa.String(128), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=True),
        sa.Column("system_id", sa.Integer(), nullable=True),
        sa.Column("vendor_id", sa.Integer(), nullable=True),
        sa.Column("grants", sa.Text(), nullable=False),
        sa.Column("login", sa.String(64), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("closed_on", sa.Date(), nullable=True),
        sa.Column("closing", sa.Text(), nullable=False),
        sa.Column("entered_at", MOMENT, nullable=False),
        sa.Column("entered_by", sa.String(64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("(kind = 'access') = (vendor_id IS NOT NULL)", name=op.f("ck_dated_entries_vendor")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_dated_entries_department_id")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_dated_entries_system_id")),
        sa.ForeignKeyConstraint(["vendor_id"], ["dated_entries.id"], name=op.f("fk_dated_entries_vendor_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dated_entries")),
    )
    op.create_index("ix_dated_entries_ends_on_id", "dated_entries", ["ends_on", "id"])
    op.create_index("ix_dated_entries_department_id_ends_on", "dated_entries", ["department_id", "ends_on"])
    for column in ("system_id", "vendor_id", "source"):
        op.create_index(op.f(f"ix_dated_entries_{column}"), "dated_entries", [column])
    op.create_table(
        "dated_terms",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["dated_entries.id"], name=op.f("fk_dated_terms_entry_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dated_terms")),
    )
    op.create_index(op.f("ix_dated_terms_entry_id"), "dated_terms", ["entry_id"])
    for statement in append_only_ddl("dated_terms")[op.get_context().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in drop_append_only_ddl("dated_terms")[op.get_context().dialect.name]:
        op.execute(statement)
    op.drop_table("dated_terms")
    op.drop_table("dated_entries")

"""What departments are asked about resources; takeovers of several departments' resources in one act, with their counts kept.

Locks: takeovers, while columns are added (SQLite: copied; a row a takeover); beside it new tables. Back: the new tables and columns go, with what they hold.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0033"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "inquiries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("asked_by", sa.String(64), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("resources", sa.Integer(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("reminded_at", MOMENT, nullable=True),
        sa.Column("escalated_at", MOMENT, nullable=True),
        sa.Column("closed_by", sa.String(64), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("(closed_at IS NULL) = (state = 'open')", name=op.f("ck_inquiries_closed")),
        sa.CheckConstraint("answered BETWEEN 0 AND resources", name=op.f("ck_inquiries_counts")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_inquiries_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inquiries")),
        sa.UniqueConstraint("key", name=op.f("uq_inquiries_key")),
    )
    op.create_index(op.f("ix_inquiries_department_id"), "inquiries", ["department_id"])
    op.create_index(op.f("ix_inquiries_origin"), "inquiries", ["origin"])
    op.create_index("ix_inquiries_state_due_at", "inquiries", ["state", "due_at"])
    op.create_index("ix_inquiries_due_at_id", "inquiries", ["due_at", "id"])
    op.create_table(
        "inquiry_items",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("inquiry_id", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("takes", sa.JSON(), nullable=False),
        sa.Column("answer", sa.String(12), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("category", sa.String(24), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("at", MOMENT, nullable=True),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["inquiry_id"], ["inquiries.id"], name=op.f("fk_inquiry_items_inquiry_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_inquiry_items_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inquiry_items")),
        sa.UniqueConstraint("inquiry_id", "resource_id", name=op.f("uq_inquiry_items_inquiry_id_resource_id")),
    )
    op.create_index(op.f("ix_inquiry_items_resource_id"), "inquiry_items", ["resource_id"])
    with op.batch_alter_table("takeovers") as batch:
        batch.alter_column("department_id", existing_type=sa.Integer(), nullable=True)
        batch.add_column(sa.Column("pool_id", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("resources", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("shares", sa.JSON(), nullable=False, server_default="[]"))
        batch.create_foreign_key(op.f("fk_takeovers_pool_id"), "pools", ["pool_id"], ["id"])
    _count()


def _count() -> None:
    """What the takeovers that there are took over, and whose."""
    takeovers = sa.table(
        "takeovers",
        sa.column("id", sa.Integer()),
        sa.column("department_id", sa.Integer()),
        sa.column("rows", sa.JSON()),
        sa.column("resources", sa.Integer()),
        sa.column("shares", sa.JSON()),
    )
    connection = op.get_bind()
    for one in connection.execute(sa.select(takeovers.c.id, takeovers.c.department_id, takeovers.c.rows)).all():
        amounts: dict[str, int] = {}
        for _resource_id, told in one.rows:
            for code, figure in told.items():
                amounts[code] = amounts.get(code, 0) + figure
        connection.execute(
            takeovers.update()
            .where(takeovers.c.id == one.id)
            .values(resources=len(one.rows), shares=[[one.department_id, len(one.rows), amounts]])
        )


def downgrade() -> None:
    """A takeover of several departments' resources is kept as the first of them's: the older book knows no other."""
    connection = op.get_bind()
    shared = sa.text("SELECT id, shares FROM takeovers WHERE department_id IS NULL")
    for number, shares in connection.execute(shared).all():
        found = json.loads(shares) if isinstance(shares, str) else shares
        connection.execute(
            sa.text("UPDATE takeovers SET department_id = :department WHERE id = :id"),
            {"department": found[0][0], "id": number},
        )
    with op.batch_alter_table("takeovers") as batch:
        batch.drop_constraint(op.f("fk_takeovers_pool_id"), type_="foreignkey")
        batch.drop_column("shares")
        batch.drop_column("resources")
        batch.drop_column("pool_id")
        batch.alter_column("department_id", existing_type=sa.Integer(), nullable=False)
    op.drop_table("inquiry_items")
    op.drop_table("inquiries")

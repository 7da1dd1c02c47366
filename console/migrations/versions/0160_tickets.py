"""Tickets of departments (运维请求): with whom each lay by which clock, and every step.

Locks: nothing; new tables. Back: all three go, with all that was asked, answered and solved.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0160"
down_revision = "0166"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
GUARDED = "ticket_steps"
OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "tickets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(256), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=True),
        sa.Column("resource_id", sa.Integer(), nullable=True),
        sa.Column("pool_id", sa.Integer(), nullable=True),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("filed_at", MOMENT, nullable=False),
        sa.Column("filed_by", sa.String(64), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tickets")),
        sa.CheckConstraint("level BETWEEN 1 AND 4", name=op.f("ck_tickets_level")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_tickets_department_id")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_tickets_system_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name=op.f("fk_tickets_resource_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_tickets_pool_id")),
        sa.ForeignKeyConstraint(["provider_id"], ["cloud_providers.id"], name=op.f("fk_tickets_provider_id")),
    )
    for column in ("department_id", "due_at", "resource_id", "system_id"):
        op.create_index(op.f(f"ix_tickets_{column}"), "tickets", [column])
    op.create_index("ix_tickets_state_due_at", "tickets", ["state", "due_at"])
    op.create_index("ix_tickets_filed_at_id", "tickets", ["filed_at", "id"])
    op.create_index("ix_tickets_provider_id_state", "tickets", ["provider_id", "state"])
    op.create_table(
        "ticket_turns",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("allowed", sa.JSON(), nullable=False),
        sa.Column("pauses", sa.JSON(), nullable=False),
        sa.Column("respond_by", MOMENT, nullable=False),
        sa.Column("resolve_by", MOMENT, nullable=False),
        sa.Column("responded_at", MOMENT, nullable=True),
        sa.Column("solved_at", MOMENT, nullable=True),
        sa.Column("paused_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket_turns")),
        sa.UniqueConstraint("ticket_id", "provider_id", name=op.f("uq_ticket_turns_ticket_id_provider_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_ticket_turns_ticket_id")),
        sa.ForeignKeyConstraint(["provider_id"], ["cloud_providers.id"], name=op.f("fk_ticket_turns_provider_id")),
    )
    op.create_index("ix_ticket_turns_provider_id_resolve_by", "ticket_turns", ["provider_id", "resolve_by"])
    op.create_index(
        "uq_ticket_turns_open_ticket_id",
        "ticket_turns",
        ["ticket_id"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_table(
        "ticket_steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ticket_id", sa.Integer(), nullable=False),
        sa.Column("act", sa.String(12), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("level", sa.Integer(), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket_steps")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_ticket_steps_ticket_id")),
        sa.ForeignKeyConstraint(["provider_id"], ["cloud_providers.id"], name=op.f("fk_ticket_steps_provider_id")),
    )
    for column in ("at", "ticket_id"):
        op.create_index(op.f(f"ix_ticket_steps_{column}"), "ticket_steps", [column])
    for statement in append_only_ddl(GUARDED)[op.get_context().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in drop_append_only_ddl(GUARDED)[op.get_context().dialect.name]:
        op.execute(statement)
    op.drop_table("ticket_steps")
    op.drop_table("ticket_turns")
    op.drop_table("tickets")

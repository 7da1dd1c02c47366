"""Tickets that carry out what a request was granted, or undo it when its term is over.

Locks: tickets, for a moment; nothing is rewritten. Back: which request a ticket came of is forgotten.
"""

import sqlalchemy as sa
from alembic import op

revision = "0161"
down_revision = "0167"
branch_labels = None
depends_on = None

RESEALS = ("tickets",)


def upgrade() -> None:
    op.add_column("tickets", sa.Column("request_id", sa.Integer(), nullable=True))
    op.add_column("tickets", sa.Column("ends_on", sa.Date(), nullable=True))
    op.create_index(op.f("ix_tickets_request_id"), "tickets", ["request_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_tickets_request_id"), table_name="tickets")
    op.drop_column("tickets", "ends_on")
    op.drop_column("tickets", "request_id")

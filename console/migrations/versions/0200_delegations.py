"""Deputies of who is away, who took a step on, whom a deputy signed for, and requests that are copied again and again.

Locks: request_steps for a moment (two columns without a default). Back: delegations, assignments and templates go; what was
signed stays signed by who signed it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0200"
down_revision = "0197"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "delegations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("deputy_id", sa.Integer(), nullable=False),
        sa.Column("from_on", sa.Date(), nullable=False),
        sa.Column("until_on", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("entered_at", MOMENT, nullable=False),
        sa.Column("entered_by", sa.String(64), nullable=False),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("revoked_by", sa.String(64), nullable=True),
        sa.Column("revoked_for", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("person_id <> deputy_id", name=op.f("ck_delegations_two")),
        sa.CheckConstraint("from_on <= until_on", name=op.f("ck_delegations_order")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_delegations_person_id_people")),
        sa.ForeignKeyConstraint(["deputy_id"], ["people.id"], name=op.f("fk_delegations_deputy_id_people")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delegations")),
    )
    op.create_index(op.f("ix_delegations_person_id"), "delegations", ["person_id"])
    op.create_index(op.f("ix_delegations_deputy_id"), "delegations", ["deputy_id"])
    op.create_index(op.f("ix_delegations_until_on"), "delegations", ["until_on"])
    op.create_table(
        "request_templates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(48), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_request_templates_department_id_departments")
        ),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_request_templates_request_id_requests")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_templates")),
    )
    op.create_index(op.f("ix_request_templates_department_id"), "request_templates", ["department_id"])
    op.add_column("request_steps", sa.Column("assignee", sa.String(64), nullable=True))
    op.add_column("request_steps", sa.Column("decided_for", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("request_steps", "decided_for")
    op.drop_column("request_steps", "assignee")
    op.drop_table("request_templates")
    op.drop_table("delegations")

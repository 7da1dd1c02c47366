"""Fields and annexes of request forms as a city enacts them.

Locks: nothing. Back: they go; what requests say in fields of a city's own stays with them, and is told by its code alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0222"
down_revision = "0228"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "request_form_fields",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("shape", sa.String(length=8), nullable=False),
        sa.Column("demand", sa.String(length=8), nullable=False),
        sa.Column("label", sa.String(length=48), nullable=False),
        sa.Column("label_en", sa.String(length=96), nullable=False),
        sa.Column("hint", sa.String(length=300), nullable=False),
        sa.Column("hint_en", sa.String(length=600), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signatures", sa.JSON(), nullable=False),
        sa.Column("drafted_by", sa.String(length=64), nullable=False),
        sa.Column("drafted_at", MOMENT, nullable=False),
        sa.Column("enacted_at", MOMENT, nullable=True),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("withdrawn_by", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_form_fields")),
    )
    op.create_index(op.f("ix_request_form_fields_kind"), "request_form_fields", ["kind"], unique=False)


def downgrade() -> None:
    op.drop_table("request_form_fields")

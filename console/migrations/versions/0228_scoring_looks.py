"""How far the clock has looked for new evidence of cards.

Locks: none, the table is new. Back: the table goes; the next round scores every card that is due.
"""

import sqlalchemy as sa
from alembic import op

revision = "0228"
down_revision = "0209"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scoring_looks",
        sa.Column("subject_type", sa.String(length=12), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("sealing", sa.Integer(), nullable=False),
        sa.Column("stamp", sa.String(length=64), nullable=False),
        sa.Column("places", sa.JSON(), nullable=False),
        sa.Column("subjects", sa.JSON(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject_type", "month", name="pk_scoring_looks"),
    )


def downgrade() -> None:
    op.drop_table("scoring_looks")

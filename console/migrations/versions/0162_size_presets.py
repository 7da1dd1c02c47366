"""Presets of sizes that request forms offer.

Locks: nothing; a new table. Back: the presets go; what was asked for with them stays as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0162"
down_revision = "0157"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "size_presets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(48), nullable=False),
        sa.Column("amounts", sa.JSON(), nullable=False),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.Column("added_by", sa.String(64), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_size_presets")),
    )


def downgrade() -> None:
    op.drop_table("size_presets")

"""How far the audit trail was handed on to each place.

Locks: none of what stands (a new table). Back: the table goes; files stay, and are gone on from where their last line ends.
"""

import sqlalchemy as sa
from alembic import op

revision = "0064"
down_revision = "0059"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "audit_exports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("tried_at", MOMENT, nullable=False),
        sa.Column("handed_at", MOMENT, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("gaps", sa.Integer(), nullable=False),
        sa.Column("gap_at", sa.Integer(), nullable=True),
        sa.Column("gap_why", sa.String(8), nullable=True),
        sa.Column("gap_found_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_exports")),
        sa.UniqueConstraint("place", name=op.f("uq_audit_exports_place")),
    )


def downgrade() -> None:
    op.drop_table("audit_exports")

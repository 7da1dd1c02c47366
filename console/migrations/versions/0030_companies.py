"""Companies: their credit code, contract and contacts, and since when one has ended.

Locks: cloud_providers, while columns are added: a row a company. Back: the columns go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


INDEX = "ix_cloud_providers_credit_code"


def upgrade() -> None:
    """Column by column: pools refer to the table, so that SQLite could not make it anew."""
    for column in (
        sa.Column("credit_code", sa.String(length=18), nullable=True),
        sa.Column("contract_number", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("contract_from", sa.Date(), nullable=True),
        sa.Column("contract_until", sa.Date(), nullable=True),
        sa.Column("contacts", sa.JSON(), nullable=False, server_default=sa.text("'[]'")),
        sa.Column("ended_on", sa.Date(), nullable=True),
    ):
        op.add_column("cloud_providers", column)
    op.create_index(INDEX, "cloud_providers", ["credit_code"], unique=True)


def downgrade() -> None:
    op.drop_index(INDEX, "cloud_providers")
    for name in ("ended_on", "contacts", "contract_until", "contract_from", "contract_number", "credit_code"):
        op.drop_column("cloud_providers", name)

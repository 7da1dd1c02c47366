"""Companies: their credit code, contract and contacts, and since when one has ended."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("cloud_providers") as batch:
        batch.add_column(sa.Column("credit_code", sa.String(length=18), nullable=True))
        batch.add_column(sa.Column("contract_number", sa.String(length=64), nullable=False, server_default=""))
        batch.add_column(sa.Column("contract_from", sa.Date(), nullable=True))
        batch.add_column(sa.Column("contract_until", sa.Date(), nullable=True))
        batch.add_column(sa.Column("contacts", sa.JSON(), nullable=False, server_default=sa.text("'[]'")))
        batch.add_column(sa.Column("ended_on", sa.Date(), nullable=True))
        batch.create_unique_constraint(op.f("uq_cloud_providers_credit_code"), ["credit_code"])


def downgrade() -> None:
    with op.batch_alter_table("cloud_providers") as batch:
        batch.drop_constraint(op.f("uq_cloud_providers_credit_code"), type_="unique")
        for name in ("ended_on", "contacts", "contract_until", "contract_from", "contract_number", "credit_code"):
            batch.drop_column(name)

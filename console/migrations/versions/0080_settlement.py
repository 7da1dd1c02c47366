"""Contracts, and settlement sheets under them.

Locks: nothing; new tables. Back: contracts and sheets go.
"""

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision = "0086"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "contracts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("payer", sa.String(128), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("ceiling_fen", sa.BigInteger(), nullable=False),
        sa.Column("basis", sa.String(12), nullable=False),
        sa.Column("instalments", sa.JSON(), nullable=False),
        sa.Column("retention_share", sa.Numeric(5, 2), nullable=False),
        sa.Column("retention_months", sa.Integer(), nullable=False),
        sa.Column("warn_share", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("entered_at", MOMENT, nullable=False),
        sa.Column("entered_by", sa.String(64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint("ceiling_fen > 0 AND last_day >= first_day", name=op.f("ck_contracts_sane")),
        sa.ForeignKeyConstraint(["provider_id"], ["cloud_providers.id"], name=op.f("fk_contracts_provider_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contracts")),
        sa.UniqueConstraint("number", name=op.f("uq_contracts_number")),
    )
    op.create_index(op.f("ix_contracts_provider_id"), "contracts", ["provider_id"], unique=False)
    op.create_table(
        "settlement_sheets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contract_id", sa.Integer(), nullable=False),
        sa.Column("period", sa.String(7), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("acceptance", sa.Numeric(5, 2), nullable=False),
        sa.Column("card_id", sa.Integer(), nullable=True),
        sa.Column("paid", sa.Numeric(5, 2), nullable=True),
        sa.Column("claimed", sa.JSON(), nullable=False),
        sa.Column("withheld", sa.JSON(), nullable=False),
        sa.Column("gross_fen", sa.BigInteger(), nullable=False),
        sa.Column("withheld_fen", sa.BigInteger(), nullable=False),
        sa.Column("retained_fen", sa.BigInteger(), nullable=False),
        sa.Column("payable_fen", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("drafted_at", MOMENT, nullable=False),
        sa.Column("drafted_by", sa.String(64), nullable=False),
        sa.Column("confirmed_at", MOMENT, nullable=True),
        sa.Column("confirmed_by", sa.String(64), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["contract_id"], ["contracts.id"], name=op.f("fk_settlement_sheets_contract_id")),
        sa.ForeignKeyConstraint(["card_id"], ["scorecards.id"], name=op.f("fk_settlement_sheets_card_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_sheets")),
        sa.UniqueConstraint(
            "contract_id", "period", "revision", name=op.f("uq_settlement_sheets_contract_id_period_revision")
        ),
    )


def downgrade() -> None:
    op.drop_table("settlement_sheets")
    op.drop_table("contracts")

"""The exchange: rules of the market and of conversions, offers of idle quota, what is asked of them, conversions between architectures.

Locks: nothing; new tables. Back: offers, claims, conversions and rules go; what was lent, moved or converted stays as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0129"
down_revision = "0125"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "exchange_rules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=12), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("based_on", sa.Integer(), nullable=True),
        sa.Column("signatures", sa.JSON(), nullable=False),
        sa.Column("drafted_by", sa.String(length=64), nullable=False),
        sa.Column("drafted_at", MOMENT, nullable=False),
        sa.Column("enacted_at", MOMENT, nullable=True),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("withdrawn_by", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exchange_rules")),
    )
    op.create_index("ix_exchange_rules_subject", "exchange_rules", ["subject", "effective_from"], unique=False)
    op.create_table(
        "quota_conversions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("source_pool_id", sa.Integer(), nullable=False),
        sa.Column("source_arch", sa.String(length=16), nullable=False),
        sa.Column("target_pool_id", sa.Integer(), nullable=False),
        sa.Column("target_arch", sa.String(length=16), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("given", sa.BigInteger(), nullable=True),
        sa.Column("received", sa.BigInteger(), nullable=True),
        sa.Column("given_worth", sa.BigInteger(), nullable=True),
        sa.Column("received_worth", sa.BigInteger(), nullable=True),
        sa.Column("rule_id", sa.Integer(), nullable=True),
        sa.Column("transfer_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("decided_by", sa.String(length=64), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "(state <> 'done' AND given IS NULL) OR (state = 'done' AND given IS NOT NULL AND received IS NOT NULL AND given_worth IS NOT NULL AND received_worth IS NOT NULL AND rule_id IS NOT NULL AND transfer_id IS NOT NULL AND received > 0 AND given * given_worth = received * received_worth)",
            name=op.f("ck_quota_conversions_conserved"),
        ),
        sa.CheckConstraint(
            "asked > 0 AND (given IS NULL OR given BETWEEN 1 AND asked)", name=op.f("ck_quota_conversions_sane")
        ),
        sa.CheckConstraint(
            "source_pool_id <> target_pool_id AND source_arch <> target_arch", name=op.f("ck_quota_conversions_two")
        ),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_quota_conversions_department_id")),
        sa.ForeignKeyConstraint(["rule_id"], ["exchange_rules.id"], name=op.f("fk_quota_conversions_rule_id")),
        sa.ForeignKeyConstraint(["source_pool_id"], ["pools.id"], name=op.f("fk_quota_conversions_source_pool_id")),
        sa.ForeignKeyConstraint(["target_pool_id"], ["pools.id"], name=op.f("fk_quota_conversions_target_pool_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name=op.f("fk_quota_conversions_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_conversions")),
        sa.UniqueConstraint("key", name=op.f("uq_quota_conversions_key")),
    )
    op.create_index(op.f("ix_quota_conversions_department_id"), "quota_conversions", ["department_id"], unique=False)
    op.create_index("ix_quota_conversions_state", "quota_conversions", ["state", "id"], unique=False)
    op.create_table(
        "quota_offers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("arch", sa.String(length=16), nullable=False),
        sa.Column("way", sa.String(length=8), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("open_until", sa.Date(), nullable=False),
        sa.Column("guaranteed_days", sa.Integer(), nullable=False),
        sa.Column("notice_days", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint("(way = 'lend') = (until IS NOT NULL)", name=op.f("ck_quota_offers_term")),
        sa.CheckConstraint("amount > 0 AND taken >= 0 AND taken <= amount", name=op.f("ck_quota_offers_sane")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_quota_offers_department_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_quota_offers_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_offers")),
        sa.UniqueConstraint("key", name=op.f("uq_quota_offers_key")),
    )
    op.create_index(op.f("ix_quota_offers_department_id"), "quota_offers", ["department_id"], unique=False)
    op.create_index(op.f("ix_quota_offers_pool_id"), "quota_offers", ["pool_id"], unique=False)
    op.create_index("ix_quota_offers_state", "quota_offers", ["state", "open_until"], unique=False)
    op.create_table(
        "quota_claims",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("offer_id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("agreed", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("decided_by", sa.String(length=64), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("loan_id", sa.Integer(), nullable=True),
        sa.Column("transfer_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(state = 'done') = (loan_id IS NOT NULL OR transfer_id IS NOT NULL)", name=op.f("ck_quota_claims_done")
        ),
        sa.CheckConstraint(
            "asked > 0 AND (agreed IS NULL OR agreed BETWEEN 1 AND asked)", name=op.f("ck_quota_claims_sane")
        ),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_quota_claims_department_id")),
        sa.ForeignKeyConstraint(["loan_id"], ["loans.id"], name=op.f("fk_quota_claims_loan_id")),
        sa.ForeignKeyConstraint(["offer_id"], ["quota_offers.id"], name=op.f("fk_quota_claims_offer_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name=op.f("fk_quota_claims_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_claims")),
        sa.UniqueConstraint("key", name=op.f("uq_quota_claims_key")),
    )
    op.create_index(op.f("ix_quota_claims_department_id"), "quota_claims", ["department_id"], unique=False)
    op.create_index(op.f("ix_quota_claims_offer_id"), "quota_claims", ["offer_id"], unique=False)
    op.create_index("ix_quota_claims_state", "quota_claims", ["state", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_quota_claims_state", table_name="quota_claims")
    op.drop_index(op.f("ix_quota_claims_offer_id"), table_name="quota_claims")
    op.drop_index(op.f("ix_quota_claims_department_id"), table_name="quota_claims")
    op.drop_table("quota_claims")
    op.drop_index("ix_quota_offers_state", table_name="quota_offers")
    op.drop_index(op.f("ix_quota_offers_pool_id"), table_name="quota_offers")
    op.drop_index(op.f("ix_quota_offers_department_id"), table_name="quota_offers")
    op.drop_table("quota_offers")
    op.drop_index("ix_quota_conversions_state", table_name="quota_conversions")
    op.drop_index(op.f("ix_quota_conversions_department_id"), table_name="quota_conversions")
    op.drop_table("quota_conversions")
    op.drop_index("ix_exchange_rules_subject", table_name="exchange_rules")
    op.drop_table("exchange_rules")

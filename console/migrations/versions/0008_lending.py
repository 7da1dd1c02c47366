"""Loans between departments, reorganisations, and the rest of the system ledger's fields."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXTS = {"approval_number": 128, "funding": 64, "users": 64, "zone": 64, "arch": 16, "mlps_record": 64, "backup": 128, "vendor": 128}
OTHERS = {
    "mlps_assessed_on": sa.Date(), "crypto_level": sa.Integer(), "crypto_assessed_on": sa.Date(),
    "rto_minutes": sa.Integer(), "rpo_minutes": sa.Integer(),
}


def upgrade() -> None:
    # Plain ALTERs: SQLite would have to rebuild the table, and others refer to its rows.
    for name, length in TEXTS.items():
        op.add_column("systems", sa.Column(name, sa.String(length=length), nullable=False, server_default=""))
    for name, kind in OTHERS.items():
        op.add_column("systems", sa.Column(name, kind, nullable=True))
    op.create_table(
        "loans",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("arch", sa.String(length=16), nullable=False),
        sa.Column("lender_id", sa.Integer(), nullable=False),
        sa.Column("borrower_id", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("returned", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("guaranteed_days", sa.Integer(), nullable=False),
        sa.Column("notice_days", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("offered_by", sa.String(length=64), nullable=False),
        sa.Column("offered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recalled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recall_reason", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount > 0 AND returned >= 0 AND returned <= amount", name=op.f("ck_loans_sane")),
        sa.CheckConstraint("lender_id <> borrower_id", name=op.f("ck_loans_two")),
        sa.CheckConstraint(
            "days > 0 AND guaranteed_days BETWEEN 0 AND days AND notice_days >= 0", name=op.f("ck_loans_terms")
        ),
        sa.CheckConstraint("(state = 'returned') = (returned = amount)", name=op.f("ck_loans_ended")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_loans_pool_id")),
        sa.ForeignKeyConstraint(["lender_id"], ["departments.id"], name=op.f("fk_loans_lender_id")),
        sa.ForeignKeyConstraint(["borrower_id"], ["departments.id"], name=op.f("fk_loans_borrower_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loans")),
        sa.UniqueConstraint("key", name=op.f("uq_loans_key")),
    )
    for name in ("pool_id", "lender_id", "borrower_id"):
        op.create_index(op.f(f"ix_loans_{name}"), "loans", [name], unique=False)
    op.create_index("ix_loans_state_ends_at", "loans", ["state", "ends_at"], unique=False)
    op.create_table(
        "reorganisations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("moved", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.String(length=64), nullable=False),
        sa.CheckConstraint("(undone_at IS NULL) = (undone_by = '')", name=op.f("ck_reorganisations_undone")),
        sa.ForeignKeyConstraint(["source_id"], ["departments.id"], name=op.f("fk_reorganisations_source_id")),
        sa.ForeignKeyConstraint(["target_id"], ["departments.id"], name=op.f("fk_reorganisations_target_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reorganisations")),
        sa.UniqueConstraint("key", name=op.f("uq_reorganisations_key")),
    )
    for name in ("source_id", "target_id"):
        op.create_index(op.f(f"ix_reorganisations_{name}"), "reorganisations", [name], unique=False)


def downgrade() -> None:
    for name in ("target_id", "source_id"):
        op.drop_index(op.f(f"ix_reorganisations_{name}"), table_name="reorganisations")
    op.drop_table("reorganisations")
    op.drop_index("ix_loans_state_ends_at", table_name="loans")
    for name in ("borrower_id", "lender_id", "pool_id"):
        op.drop_index(op.f(f"ix_loans_{name}"), table_name="loans")
    op.drop_table("loans")
    for name in (*reversed(OTHERS), *reversed(TEXTS)):
        op.drop_column("systems", name)

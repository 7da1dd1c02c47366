"""What of a department's quota a system was given.

Locks: holds for a moment, to add a column that is empty. Back: refused where a system was given a share, of which the ledger tells in
accounts that the book below could not read.
"""

import sqlalchemy as sa
from alembic import op

revision = "0220"
down_revision = "0229"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "system_shares",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("arch", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("used >= 0 AND used <= amount", name=op.f("ck_system_shares_sane")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_system_shares_system_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_system_shares_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system_shares")),
        sa.UniqueConstraint("system_id", "pool_id", "kind", "arch", name=op.f("uq_system_shares_system_id_pool_id_kind_arch")),
    )
    op.create_index(op.f("ix_system_shares_pool_id"), "system_shares", ["pool_id"])
    # In plain words, which both databases know: for a column with a reference SQLite would make the table anew.
    op.execute(
        "ALTER TABLE holds ADD COLUMN share_id INTEGER CONSTRAINT fk_holds_share_id REFERENCES system_shares (id)"
    )
    op.create_index(op.f("ix_holds_share_id"), "holds", ["share_id"])


def downgrade() -> None:
    had = op.get_bind().scalar(sa.text("SELECT count(*) FROM system_shares"))
    if had:
        raise RuntimeError("no way back below 0220: systems were given shares of their departments' quota")
    op.drop_index(op.f("ix_holds_share_id"), table_name="holds")
    op.execute("ALTER TABLE holds DROP COLUMN share_id")
    op.drop_index(op.f("ix_system_shares_pool_id"), table_name="system_shares")
    op.drop_table("system_shares")

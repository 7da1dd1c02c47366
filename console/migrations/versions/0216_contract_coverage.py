"""What a contract covers, and prices that it agreed on.

Locks: contracts and tariffs for a moment, to add a column each; what was there covers all and is priced as it was. Back: what
contracts cover goes; refused where a price is a contract's own, which would hold for all of its company.
"""

import sqlalchemy as sa
from alembic import op

revision = "0216"
down_revision = "0206"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("contracts", sa.Column("coverage", sa.JSON(), nullable=False, server_default=sa.text("'{}'")))
    # In plain words, which both databases know: for a column with a reference SQLite would make the table anew.
    op.execute(
        "ALTER TABLE tariffs ADD COLUMN contract_id INTEGER CONSTRAINT fk_tariffs_contract_id REFERENCES contracts (id)"
    )


def downgrade() -> None:
    held = op.get_bind().scalar(sa.text("SELECT count(*) FROM tariffs WHERE contract_id IS NOT NULL"))
    if held:
        raise RuntimeError("no way back below 0216: contracts have prices of their own")
    op.execute("ALTER TABLE tariffs DROP COLUMN contract_id")
    op.drop_column("contracts", "coverage")

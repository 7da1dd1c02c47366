"""Growth within the day of more than CPU: what class a look enlarged, and what an authorisation allows of others than vCPU and memory.

Locks: surges and authorisations, for a moment; what was written before was of vCPU, and allowed nothing else. Back: the columns go; what
other classes grew within the day is told by its case alone, and no authorisation allows more of it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0170"
down_revision = "0160"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("surges", sa.Column("cls", sa.String(24), nullable=False, server_default="vcpu"))
    op.add_column("authorisations", sa.Column("others", sa.JSON(), nullable=False, server_default=sa.text("'{}'")))


def downgrade() -> None:
    op.drop_column("authorisations", "others")
    op.drop_column("surges", "cls")

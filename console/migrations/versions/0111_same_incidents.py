"""Of incidents, whose word stands against monitoring's, and of which other incident one tells the same.

Locks: incidents, for the moment in which two columns and an index are added.
Back: the columns go, and with them which incidents count as part of another: rulings of that kind are then settled ones of nobody.
"""

import sqlalchemy as sa
from alembic import op

revision = "0111"
down_revision = "0112"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("incidents") as table:
        table.add_column(sa.Column("corrected_by", sa.String(64), nullable=True))
        table.add_column(sa.Column("same_as_id", sa.Integer(), nullable=True))
        table.create_foreign_key(op.f("fk_incidents_same_as_id"), "incidents", ["same_as_id"], ["id"])
    op.create_index(op.f("ix_incidents_same_as_id"), "incidents", ["same_as_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_incidents_same_as_id"), "incidents")
    with op.batch_alter_table("incidents") as table:
        table.drop_constraint(op.f("fk_incidents_same_as_id"), type_="foreignkey")
        table.drop_column("same_as_id")
        table.drop_column("corrected_by")

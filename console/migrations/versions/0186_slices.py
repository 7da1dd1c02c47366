"""Classes of slices: of which class a card they are parts, and how many one makes.

Locks: resource_classes, for a moment. Back: what was cut stays in its class, which is then a class like any other, and its cards stay
reserved.
"""

import sqlalchemy as sa
from alembic import op

revision = "0186"
down_revision = "0183"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("resource_classes") as table:
        table.add_column(sa.Column("whole", sa.String(16), nullable=False, server_default=""))
        table.add_column(sa.Column("parts", sa.Integer(), nullable=False, server_default="0"))
        table.create_check_constraint(op.f("ck_resource_classes_slices"), "(whole = '') = (parts = 0) AND parts >= 0")


def downgrade() -> None:
    with op.batch_alter_table("resource_classes") as table:
        table.drop_constraint(op.f("ck_resource_classes_slices"), type_="check")
        table.drop_column("parts")
        table.drop_column("whole")

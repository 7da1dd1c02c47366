"""Steps of a city's own: parties, stages side by side, limits in other units, numbers of documents; orders with such limits.

Locks: request_steps and work_orders, while columns are added and an index is built; every row of request_steps is written once.
Back: the columns go: steps of a city's own stay as rows whose names the older release does not know, so none may be under way.
"""

import sqlalchemy as sa
from alembic import op

revision = "0076"
down_revision = "0071"
branch_labels = None
depends_on = None

RESEALS = ("request_steps", "work_orders")


def upgrade() -> None:
    with op.batch_alter_table("request_steps") as table:
        table.add_column(sa.Column("label", sa.String(24), nullable=False, server_default=""))
        table.add_column(sa.Column("stage", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("department_id", sa.Integer(), nullable=True))
        table.add_column(sa.Column("person", sa.String(64), nullable=True))
        table.add_column(sa.Column("need", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("unit", sa.String(16), nullable=False, server_default="working_days"))
        table.add_column(sa.Column("record", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("record_number", sa.String(64), nullable=False, server_default=""))
        table.create_foreign_key(op.f("fk_request_steps_department_id"), "departments", ["department_id"], ["id"])
        table.create_index(op.f("ix_request_steps_department_id"), ["department_id"])
    # One after the other, as they were.
    op.execute("UPDATE request_steps SET stage = sequence")
    op.add_column("work_orders", sa.Column("limit_unit", sa.String(16), nullable=False, server_default="working_days"))


def downgrade() -> None:
    with op.batch_alter_table("work_orders") as table:
        table.drop_column("limit_unit")
    with op.batch_alter_table("request_steps") as table:
        table.drop_index(op.f("ix_request_steps_department_id"))
        table.drop_constraint(op.f("fk_request_steps_department_id"), type_="foreignkey")
        for name in ("record_number", "record", "unit", "need", "person", "department_id", "stage", "label"):
            table.drop_column(name)

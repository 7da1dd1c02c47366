"""Services of people: what they cost from which day on, and jobs from being granted to being confirmed.

Locks: nothing; new tables. Back: rates and jobs go; settlement sheets keep what they say of them.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0156"
down_revision = "0176"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "labour_rates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=96), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("offered", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("entered_at", MOMENT, nullable=False),
        sa.Column("entered_by", sa.String(length=64), nullable=False),
        sa.CheckConstraint("price >= 0", name=op.f("ck_labour_rates_price")),
        sa.ForeignKeyConstraint(["provider_id"], ["cloud_providers.id"], name=op.f("fk_labour_rates_provider_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labour_rates")),
    )
    op.create_index("ix_labour_rates_code_effective_from", "labour_rates", ["code", "effective_from"], unique=False)
    for statement in append_only_ddl("labour_rates")[op.get_context().dialect.name]:
        op.execute(statement)
    op.create_table(
        "labour_jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Integer(), nullable=False),
        sa.Column("rate_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=8, scale=2), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("done", sa.Numeric(precision=8, scale=2), nullable=True),
        sa.Column("done_on", sa.Date(), nullable=True),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=True),
        sa.Column("ordered_at", MOMENT, nullable=False),
        sa.Column("reported_by", sa.String(length=64), nullable=False),
        sa.Column("confirmed_at", MOMENT, nullable=True),
        sa.Column("confirmed_by", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "quantity > 0 AND (done IS NULL OR (done > 0 AND done <= quantity))", name=op.f("ck_labour_jobs_quantities")
        ),
        sa.CheckConstraint("(fen IS NULL) = (confirmed_at IS NULL)", name=op.f("ck_labour_jobs_paid")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_labour_jobs_request_id")),
        sa.ForeignKeyConstraint(["rate_id"], ["labour_rates.id"], name=op.f("fk_labour_jobs_rate_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_labour_jobs_pool_id")),
        sa.ForeignKeyConstraint(["provider_id"], ["cloud_providers.id"], name=op.f("fk_labour_jobs_provider_id")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_labour_jobs_department_id")),
        sa.ForeignKeyConstraint(["system_id"], ["systems.id"], name=op.f("fk_labour_jobs_system_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labour_jobs")),
        sa.UniqueConstraint("request_id", name=op.f("uq_labour_jobs_request_id")),
    )
    op.create_index(op.f("ix_labour_jobs_department_id"), "labour_jobs", ["department_id"], unique=False)
    op.create_index(op.f("ix_labour_jobs_state"), "labour_jobs", ["state"], unique=False)
    op.create_index(
        "ix_labour_jobs_provider_id_confirmed_at", "labour_jobs", ["provider_id", "confirmed_at"], unique=False
    )


def downgrade() -> None:
    op.drop_index("ix_labour_jobs_provider_id_confirmed_at", table_name="labour_jobs")
    op.drop_index(op.f("ix_labour_jobs_state"), table_name="labour_jobs")
    op.drop_index(op.f("ix_labour_jobs_department_id"), table_name="labour_jobs")
    op.drop_table("labour_jobs")
    for statement in drop_append_only_ddl("labour_rates")[op.get_context().dialect.name]:
        op.execute(statement)
    op.drop_index("ix_labour_rates_code_effective_from", table_name="labour_rates")
    op.drop_table("labour_rates")

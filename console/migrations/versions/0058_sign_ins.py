"""Sessions as rows, and tries counted by address and account instead of locks.

Locks: people, while two columns are dropped (SQLite: copied; a row a person); beside it new tables. Back: the columns come back empty, sessions end.
"""

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0051"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("factor", sa.String(16), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("browser", sa.String(200), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("proven_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ended_by", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ins")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_sign_ins_person_id")),
        sa.UniqueConstraint("digest", name=op.f("uq_sign_ins_digest")),
    )
    op.create_index("ix_sign_ins_person_id_started_at", "sign_ins", ["person_id", "started_at"])
    op.create_index(op.f("ix_sign_ins_started_at"), "sign_ins", ["started_at"])
    op.create_table(
        "try_counters",
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_try_counters")),
    )
    op.create_index(op.f("ix_try_counters_expires_at"), "try_counters", ["expires_at"])
    op.drop_column("people", "locked_until")
    op.drop_column("people", "failed_logins")


def downgrade() -> None:
    op.add_column("people", sa.Column("failed_logins", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("people", sa.Column("locked_until", MOMENT, nullable=True))
    op.drop_table("try_counters")
    op.drop_table("sign_ins")

"""How far behind the last reading a pool and a feed are asked again, which day was read twice, and every gap of a pool by itself.

Locks: intakes, pool_schedules and feeds, each for a moment (SQLite writes them anew). Back: look-backs are two hours again; gaps are
told as one, from the first to the last; a pool that was never read counts as read when it was last tried.
"""

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0092"
down_revision = "0094"
branch_labels = None
depends_on = None

RESEALS = ("feeds", "pool_schedules")

WHEN = sa.DateTime(timezone=True)
INTAKES = sa.table(
    "intakes", sa.column("pool_id", sa.Integer()), sa.column("collected_at", WHEN), sa.column("collected_until", WHEN),
    sa.column("fault_at", WHEN), sa.column("missed_since", WHEN), sa.column("missed_until", WHEN), sa.column("missed", sa.JSON()),
)  # fmt: skip


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)  # SQLite keeps them without


def upgrade() -> None:
    for name in ("pool_schedules", "feeds"):
        op.add_column(name, sa.Column("lookback_hours", sa.Integer(), nullable=False, server_default="2"))
    op.add_column("feeds", sa.Column("read_again_on", sa.Date(), nullable=True))
    with op.batch_alter_table("intakes") as table:
        table.add_column(sa.Column("missed", sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("read_again_on", sa.Date(), nullable=True))
        table.alter_column("collected_at", existing_type=WHEN, nullable=True)
    bind, of = op.get_bind(), INTAKES.c
    rows = bind.execute(sa.select(of.pool_id, of.missed_since, of.missed_until).where(of.missed_since.is_not(None)))
    for pool_id, since, until in rows.all():
        gap = [_aware(since).isoformat(), _aware(until).isoformat()]
        bind.execute(sa.update(INTAKES).where(of.pool_id == pool_id).values(missed=[gap]))
    with op.batch_alter_table("intakes") as table:
        table.drop_column("missed_since")
        table.drop_column("missed_until")


def downgrade() -> None:
    with op.batch_alter_table("intakes") as table:
        table.add_column(sa.Column("missed_since", WHEN, nullable=True))
        table.add_column(sa.Column("missed_until", WHEN, nullable=True))
    bind, of = op.get_bind(), INTAKES.c
    for pool_id, missed in bind.execute(sa.select(of.pool_id, of.missed)).all():
        gaps = json.loads(missed) if isinstance(missed, str) else missed
        if gaps:
            since, until = (datetime.fromisoformat(one) for one in (gaps[0][0], gaps[-1][1]))
            bind.execute(
                sa.update(INTAKES).where(of.pool_id == pool_id).values(missed_since=since, missed_until=until)
            )
    never = sa.update(INTAKES).where(of.collected_at.is_(None))
    bind.execute(never.values(collected_at=sa.func.coalesce(of.fault_at, of.collected_until)))
    with op.batch_alter_table("intakes") as table:
        table.alter_column("collected_at", existing_type=WHEN, nullable=False)
        table.drop_column("missed")
        table.drop_column("read_again_on")
    op.drop_column("feeds", "read_again_on")
    for name in ("feeds", "pool_schedules"):
        op.drop_column(name, "lookback_hours")

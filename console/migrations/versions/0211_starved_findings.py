"""Findings of machines that their host starves are as urgent as those that are busy.

Locks: findings, against writers, for as long as the index takes to build. Back: the index ranks them behind all others again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0211"
down_revision = "0203"
branch_labels = None
depends_on = None

INDEX = "ix_findings_assessment_id_urgency_id"
RANK = (
    "(CASE verdict WHEN 'overloaded' THEN 0 WHEN 'busy' THEN 1{starved} WHEN 'stopped' THEN 2 WHEN 'unattached' THEN 2 WHEN 'idle' THEN 2 "
    "WHEN 'underused' THEN 3 WHEN 'dead' THEN 4 WHEN 'unknown' THEN 5 WHEN 'normal' THEN 6 WHEN 'unjudged' THEN 7 ELSE {last} END "
    "* 1000000 - coalesce({vcpu}, 0))"
)
VCPU = {
    "sqlite": "CASE WHEN json_valid(recoverable) THEN CAST(json_extract(recoverable, '$.vcpu') AS INTEGER) END",
    "postgresql": "CAST(recoverable ->> 'vcpu' AS integer)",
}


def _rank(**ranked: object) -> None:
    rank = RANK.format(vcpu=VCPU[op.get_bind().dialect.name], **ranked)
    op.drop_index(INDEX, table_name="findings")
    op.create_index(INDEX, "findings", ["assessment_id", sa.text(rank), "id"])


def upgrade() -> None:
    _rank(starved=" WHEN 'starved' THEN 1", last=11)


def downgrade() -> None:
    _rank(starved="", last=10)

"""Findings in the order of their list: what is most urgent first, and of as urgent ones what recovers most.

Locks: findings, against writers, for as long as the index takes to build. Back: the index goes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0069"
branch_labels = None
depends_on = None

INDEX = "ix_findings_assessment_id_urgency_id"
RANK = (
    "(CASE verdict WHEN 'overloaded' THEN 0 WHEN 'busy' THEN 1 WHEN 'stopped' THEN 2 WHEN 'unattached' THEN 2 WHEN 'idle' THEN 2 "
    "WHEN 'underused' THEN 3 WHEN 'dead' THEN 4 WHEN 'unknown' THEN 5 WHEN 'normal' THEN 6 WHEN 'unjudged' THEN 7 ELSE 10 END "
    "* 1000000 - coalesce({vcpu}, 0))"
)
VCPU = {
    "sqlite": "CASE WHEN json_valid(recoverable) THEN CAST(json_extract(recoverable, '$.vcpu') AS INTEGER) END",
    "postgresql": "CAST(recoverable ->> 'vcpu' AS integer)",
}


def upgrade() -> None:
    rank = RANK.format(vcpu=VCPU[op.get_bind().dialect.name])
    op.create_index(INDEX, "findings", ["assessment_id", sa.text(rank), "id"])


def downgrade() -> None:
    op.drop_index(INDEX, table_name="findings")

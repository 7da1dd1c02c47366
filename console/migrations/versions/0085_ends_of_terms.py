"""What the end of a term leads to, as rules say it, and cases that begin with one.

Locks: approval_rules and cases, for the moment in which a column is added to each; cases, against writers, while an index over a
column that is empty is built. Back: the columns go. No way back once a rule about ends was drafted or enacted, or a case began with a
term: these rows are sealed, and are neither deleted nor rewritten behind the seals' back.
"""

import sqlalchemy as sa
from alembic import op

revision = "0085"
down_revision = "0079"
branch_labels = None
depends_on = None

RESEALS = ("approval_rules", "cases")


def upgrade() -> None:
    op.add_column("approval_rules", sa.Column("ending", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("cases") as table:
        table.add_column(sa.Column("term_id", sa.Integer(), nullable=True))
        table.create_foreign_key(op.f("fk_cases_term_id"), "requests", ["term_id"], ["id"])
        table.create_index(op.f("ix_cases_term_id"), ["term_id"])


USED = (
    "SELECT count(*) FROM cases WHERE term_id IS NOT NULL",
    "SELECT count(*) FROM approval_rules WHERE outcome = 'end'",
    "SELECT count(*) FROM rule_drafts WHERE CAST(rules AS TEXT) LIKE '%\"ending\"%'",
)


def downgrade() -> None:
    if any(op.get_bind().scalar(sa.text(query)) for query in USED):
        raise RuntimeError("no way back below 0085: ends of terms are in use; restore a backup of before")
    with op.batch_alter_table("cases") as table:
        table.drop_index(op.f("ix_cases_term_id"))
        table.drop_constraint(op.f("fk_cases_term_id"), type_="foreignkey")
        table.drop_column("term_id")
    with op.batch_alter_table("approval_rules") as table:
        table.drop_column("ending")

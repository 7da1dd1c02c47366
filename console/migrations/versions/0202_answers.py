"""How often an answer to a survey was written: who answers from a page that another overtook is told so.

Locks: survey_answers for a moment, to add a column with a constant default. Back: the later of two answers counts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0202"
down_revision = "0186"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("survey_answers", sa.Column("generation", sa.Integer(), nullable=False, server_default=sa.text("1")))


def downgrade() -> None:
    op.drop_column("survey_answers", "generation")

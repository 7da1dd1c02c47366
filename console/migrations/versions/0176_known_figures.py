"""Of which pools a figure is known of some machine, kept with an assessment's sums.

Locks: nothing; the newest assessment of each policy is summed up anew when the book's seals are looked after. Back: the table goes, and
pages look through the findings again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0176"
down_revision = "0171"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "known_figures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("assessment_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("figure", sa.String(48), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("coverage", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["assessment_id"], ["assessments.id"], name=op.f("fk_known_figures_assessment_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_known_figures_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_figures")),
        sa.UniqueConstraint(
            "assessment_id", "pool_id", "kind", "figure", "days",
            name=op.f("uq_known_figures_assessment_id_pool_id_kind_figure_days"),
        ),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("known_figures")

"""Indexes in the order in which lists are shown.

Locks: the tables that lists show, against writers, for as long as an index over each takes to build. Back: the indexes go.
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_cases_worth_id", "cases", ["worth", "id"]),
    ("ix_work_orders_due_at_id", "work_orders", ["due_at", "id"]),
    ("ix_incidents_started_at_id", "incidents", ["started_at", "id"]),
    ("ix_exemptions_ends_on_id", "exemptions", ["ends_on", "id"]),
    ("ix_authorisations_ends_on_id", "authorisations", ["ends_on", "id"]),
    ("ix_late_figures_number_id", "late_figures", ["number", "id"]),
    ("ix_findings_assessment_id_verdict_id", "findings", ["assessment_id", "verdict", "id"]),
    ("ix_inventory_listings_as_of_id", "inventory_listings", ["as_of", "id"]),
    ("ix_assessment_records_happened_on_id", "assessment_records", ["happened_on", "id"]),
)


def upgrade() -> None:
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _columns in reversed(INDEXES):
        op.drop_index(name, table_name=table)

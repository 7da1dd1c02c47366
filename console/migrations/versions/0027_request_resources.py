"""A request's resource is one of the register, by a foreign key.

A request that names a resource which the register does not have keeps its words, its decisions and its rows in the audit trail, which
has the number that it named; its own column is emptied. Going down does not bring such a number back.

Locks: requests, read once for dangling references and held to the register (SQLite: copied). Back: the references stay, no longer held.
"""

import logging

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0024"
branch_labels = None
depends_on = None

NAME = "fk_requests_resource_id"
INDEX = "ix_requests_resource_id"
DANGLING = "resource_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM resources WHERE resources.id = requests.resource_id)"


def _anew(reference: str) -> None:
    """SQLite: the column once more, with ``reference``. The table stays: others refer to it, so that it cannot be made anew."""
    op.execute(f"ALTER TABLE requests ADD COLUMN resource_anew INTEGER {reference}")
    op.execute("UPDATE requests SET resource_anew = resource_id")
    op.drop_index(INDEX, "requests")
    op.execute("ALTER TABLE requests DROP COLUMN resource_id")
    op.execute("ALTER TABLE requests RENAME COLUMN resource_anew TO resource_id")
    op.create_index(INDEX, "requests", ["resource_id"])


def upgrade() -> None:
    connection = op.get_bind()
    query = f"SELECT number, resource_id FROM requests WHERE {DANGLING} ORDER BY id"  # noqa: S608 - a constant
    for number, resource_id in connection.execute(sa.text(query)).all():
        logging.getLogger("alembic.runtime.migration").warning(
            "request %s names resource %s, which the register does not have: the reference is emptied", number, resource_id
        )
    op.execute(f"UPDATE requests SET resource_id = NULL WHERE {DANGLING}")
    if connection.dialect.name == "sqlite":
        _anew(f"CONSTRAINT {NAME} REFERENCES resources (id)")
    else:
        op.create_foreign_key(NAME, "requests", "resources", ["resource_id"], ["id"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _anew("")
    else:
        op.drop_constraint(NAME, "requests", type_="foreignkey")

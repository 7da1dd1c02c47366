"""Projects of clouds and whose they are, the state in the cloud's own word, kinds that a listing does not tell in full, and
what clouds say of their capacity and quotas.

Locks: resources, against everybody, while columns are added and an index is built; beside it new tables. Back: the new tables and columns go, with what they hold.
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "cloud_projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("domain", sa.String(128), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("department_id", sa.Integer(), nullable=True),
        sa.Column("mapped_by", sa.String(64), nullable=False),
        sa.Column("mapped_at", MOMENT, nullable=True),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.Column("last_seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cloud_projects")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_cloud_projects_pool_id")),
        sa.ForeignKeyConstraint(["department_id"], ["departments.id"], name=op.f("fk_cloud_projects_department_id")),
        sa.UniqueConstraint("pool_id", "external_id", name=op.f("uq_cloud_projects_pool_id_external_id")),
    )
    op.create_index(op.f("ix_cloud_projects_department_id"), "cloud_projects", ["department_id"])
    op.create_table(
        "cloud_book_readings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("tried_at", MOMENT, nullable=False),
        sa.Column("read_at", MOMENT, nullable=True),
        sa.Column("fault", sa.String(64), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cloud_book_readings")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_cloud_book_readings_pool_id")),
        sa.UniqueConstraint("pool_id", "what", name=op.f("uq_cloud_book_readings_pool_id_what")),
    )
    op.create_table(
        "cloud_capacities",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("ratio", sa.Numeric(6, 3), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("as_of", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cloud_capacities")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_cloud_capacities_pool_id")),
        sa.UniqueConstraint("pool_id", "kind", name=op.f("uq_cloud_capacities_pool_id_kind")),
    )
    op.create_table(
        "cloud_quotas",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("most", sa.BigInteger(), nullable=True),
        sa.Column("unified", sa.BigInteger(), nullable=True),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("as_of", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cloud_quotas")),
        sa.ForeignKeyConstraint(["project_id"], ["cloud_projects.id"], name=op.f("fk_cloud_quotas_project_id")),
        sa.UniqueConstraint("project_id", "kind", name=op.f("uq_cloud_quotas_project_id_kind")),
    )
    op.add_column("resources", sa.Column("cloud_state", sa.String(64), nullable=False, server_default=""))
    # In plain words, which both databases know: for a column with a reference SQLite would make the table anew, and others
    # refer to it.
    op.execute(
        "ALTER TABLE resources ADD COLUMN project_id INTEGER CONSTRAINT fk_resources_project_id REFERENCES cloud_projects (id)"
    )
    op.create_index(op.f("ix_resources_project_id"), "resources", ["project_id"])
    op.add_column("inventory_listings", sa.Column("short", sa.String(200), nullable=False, server_default=""))


def downgrade() -> None:
    op.execute("ALTER TABLE inventory_listings DROP COLUMN short")
    op.drop_index(op.f("ix_resources_project_id"), "resources")
    op.execute("ALTER TABLE resources DROP COLUMN project_id")
    op.execute("ALTER TABLE resources DROP COLUMN cloud_state")
    for name in ("cloud_quotas", "cloud_capacities", "cloud_book_readings", "cloud_projects"):
        op.drop_table(name)

"""What can be held: resource classes as rows, those of today as their beginning.

Locks: none of what stands (a new table). Back: the table goes; what is held of classes that were added stays in the ledger.
"""

import sqlalchemy as sa
from alembic import op

from quota.errors import N_

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

# code, name, English name, group, base unit, shown unit, factor, by architecture, resizable, measured
SEED = (
    ("vcpu", "vCPU", "vCPU", "compute", "vCPU", "vCPU", 1, True, True, True),
    ("memory", N_("内存"), "memory", "compute", "MiB", "GB", 1024, True, True, True),
    ("block", N_("块存储"), "block storage", "storage", "GB", "GB", 1, False, True, True),
    ("object", N_("对象存储"), "object storage", "storage", "GB", "GB", 1, False, True, True),
    ("bandwidth", N_("带宽"), "bandwidth", "network", "Mbps", "Mbps", 1, False, True, True),
    ("eip", N_("弹性公网IP"), "elastic IP", "network", N_("个"), N_("个"), 1, False, False, False),
    ("database", N_("数据库"), "database", "database", N_("实例"), N_("实例"), 1, True, False, False),
    ("middleware", N_("中间件"), "middleware", "middleware", N_("实例"), N_("实例"), 1, True, False, False),
    ("security", N_("安全服务"), "security service", "security", N_("套"), N_("套"), 1, False, False, False),
    ("cryptography", N_("密码服务"), "cryptography", "security", N_("实例"), N_("实例"), 1, False, False, False),
    ("accelerator", N_("加速卡"), "accelerator", "ai", N_("卡"), N_("卡"), 1, True, False, True),
)


def upgrade() -> None:
    table = op.create_table(
        "resource_classes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("name_en", sa.String(length=48), nullable=False),
        sa.Column("group", sa.String(length=16), nullable=False),
        sa.Column("base_unit", sa.String(length=16), nullable=False),
        sa.Column("shown_unit", sa.String(length=16), nullable=False),
        sa.Column("factor", sa.Integer(), nullable=False),
        sa.Column("by_arch", sa.Boolean(), nullable=False),
        sa.Column("resizable", sa.Boolean(), nullable=False),
        sa.Column("measured", sa.Boolean(), nullable=False),
        sa.Column("recyclable", sa.Boolean(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("factor > 0", name=op.f("ck_resource_classes_factor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource_classes")),
        sa.UniqueConstraint("code", name=op.f("uq_resource_classes_code")),
    )
    names = (
        "code", "name", "name_en", "group", "base_unit", "shown_unit", "factor", "by_arch", "resizable", "measured",
    )
    op.bulk_insert(
        table,
        [{"id": n, **dict(zip(names, row, strict=True)), "recyclable": True} for n, row in enumerate(SEED, 1)],
    )
    if op.get_bind().dialect.name == "postgresql":  # the next number follows those given here
        op.execute(
            "SELECT setval(pg_get_serial_sequence('resource_classes', 'id'), (SELECT max(id) FROM resource_classes))"
        )


def downgrade() -> None:
    op.drop_table("resource_classes")

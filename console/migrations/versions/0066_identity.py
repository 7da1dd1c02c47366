"""Identities from elsewhere: sources, their rules, links, sessions; emergency accounts.

Locks: sign_ins, for the moment in which a column is added and while its index is built; beside it new tables. Back: sources,
rules, links and emergency accounts go; accounts that a source made stay, without a password that anybody knows.
"""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0066"
down_revision = "0064"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
GUARDED = ("identity_rules", "break_glass_uses")


def upgrade() -> None:
    op.add_column("sign_ins", sa.Column("outside", sa.String(32), nullable=False, server_default=""))
    op.create_index(op.f("ix_sign_ins_outside"), "sign_ins", ["outside"])
    _create_sources()
    _create_links()
    op.create_table(
        "break_glass",
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("named_by", sa.String(64), nullable=False),
        sa.Column("named_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_break_glass")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_break_glass_person_id")),
    )
    op.create_table(
        "break_glass_uses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_break_glass_uses")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_break_glass_uses_person_id")),
    )
    op.create_index(op.f("ix_break_glass_uses_person_id"), "break_glass_uses", ["person_id"])
    op.create_index(op.f("ix_break_glass_uses_at"), "break_glass_uses", ["at"])
    for table in GUARDED:
        for statement in append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)


def _create_sources() -> None:
    op.create_table(
        "identity_sources",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_sources")),
        sa.UniqueConstraint("code", name=op.f("uq_identity_sources_code")),
    )
    op.create_table(
        "identity_rules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("enacted_by", sa.String(64), nullable=False),
        sa.Column("enacted_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_rules")),
        sa.ForeignKeyConstraint(["source_id"], ["identity_sources.id"], name=op.f("fk_identity_rules_source_id")),
        sa.UniqueConstraint("source_id", "version", name=op.f("uq_identity_rules_source_id_version")),
    )


def _create_links() -> None:
    op.create_table(
        "identity_links",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("linked_by", sa.String(64), nullable=False),
        sa.Column("linked_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=True),
        sa.Column("allowed", sa.JSON(), nullable=False),
        sa.Column("differs_since", MOMENT, nullable=True),
        sa.Column("settled", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_links")),
        sa.ForeignKeyConstraint(["source_id"], ["identity_sources.id"], name=op.f("fk_identity_links_source_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_identity_links_person_id")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_identity_links_issuer_subject")),
        sa.UniqueConstraint("source_id", "person_id", name=op.f("uq_identity_links_source_id_person_id")),
    )
    op.create_index(op.f("ix_identity_links_person_id"), "identity_links", ["person_id"])
    op.create_index(op.f("ix_identity_links_differs_since"), "identity_links", ["differs_since"])
    op.create_table(
        "identity_sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("session", sa.String(255), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_sessions")),
        sa.ForeignKeyConstraint(["source_id"], ["identity_sources.id"], name=op.f("fk_identity_sessions_source_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_identity_sessions_person_id")),
    )
    op.create_index(op.f("ix_identity_sessions_issuer_subject"), "identity_sessions", ["issuer", "subject"])
    op.create_index(op.f("ix_identity_sessions_person_id"), "identity_sessions", ["person_id"])
    op.create_index(op.f("ix_identity_sessions_started_at"), "identity_sessions", ["started_at"])
    op.create_table(
        "used_marks",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_used_marks")),
    )
    op.create_index(op.f("ix_used_marks_until"), "used_marks", ["until"])


def downgrade() -> None:
    for table in GUARDED:
        for statement in drop_append_only_ddl(table)[op.get_context().dialect.name]:
            op.execute(statement)
    for table in (
        "break_glass_uses", "break_glass", "used_marks", "identity_sessions", "identity_links", "identity_rules",
        "identity_sources",
    ):  # fmt: skip
        op.drop_table(table)
    op.drop_index(op.f("ix_sign_ins_outside"), table_name="sign_ins")
    op.drop_column("sign_ins", "outside")

"""What was held, priced and closed; the four-way line and the disputes over bills."""

import sqlalchemy as sa
from alembic import op

import quota.base
from quota.base import append_only_ddl

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

GUARDED = [
    "dispute_steps",
    "month_closings",
    "reconciliation_lines",
    "reconciliations",
    "statement_lines",
    "statement_runs",
    "tariffs",
]


def upgrade() -> None:
    op.create_table('month_closings',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('month', sa.String(length=7), nullable=False),
    sa.Column('run_id', sa.Integer(), nullable=False),
    sa.Column('invoices', sa.JSON(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('closed_at', quota.base.UtcDateTime(timezone=True), nullable=False),
    sa.Column('closed_by', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_month_closings')),
    sa.UniqueConstraint('month', name=op.f('uq_month_closings_month')),
    sa.UniqueConstraint('run_id', name=op.f('uq_month_closings_run_id'))
    )
    op.create_table('statement_runs',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('month', sa.String(length=7), nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('digest', sa.String(length=64), nullable=False),
    sa.Column('until', quota.base.UtcDateTime(timezone=True), nullable=False),
    sa.Column('tariff_id', sa.Integer(), nullable=True),
    sa.Column('resources', sa.Integer(), nullable=False),
    sa.Column('lines', sa.Integer(), nullable=False),
    sa.Column('unpriced', sa.Integer(), nullable=False),
    sa.Column('proven_fen', sa.BigInteger(), nullable=False),
    sa.Column('unmeasured_fen', sa.BigInteger(), nullable=False),
    sa.Column('correction_fen', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('made_at', quota.base.UtcDateTime(timezone=True), nullable=False),
    sa.Column('made_by', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_statement_runs')),
    sa.UniqueConstraint('month', 'revision', name=op.f('uq_statement_runs_month_revision'))
    )
    op.create_table('tariffs',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('arch', sa.String(length=16), nullable=True),
    sa.Column('provider_id', sa.Integer(), nullable=True),
    sa.Column('catalog_item_id', sa.Integer(), nullable=True),
    sa.Column('price', sa.Numeric(precision=14, scale=6), nullable=False),
    sa.Column('per', sa.String(length=8), nullable=False),
    sa.Column('stopped_share', sa.Integer(), nullable=False),
    sa.Column('effective_from', sa.Date(), nullable=False),
    sa.Column('label', sa.String(length=32), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('entered_at', quota.base.UtcDateTime(timezone=True), nullable=False),
    sa.Column('entered_by', sa.String(length=64), nullable=False),
    sa.ForeignKeyConstraint(['catalog_item_id'], ['catalog_items.id'], name=op.f('fk_tariffs_catalog_item_id')),
    sa.ForeignKeyConstraint(['provider_id'], ['cloud_providers.id'], name=op.f('fk_tariffs_provider_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tariffs'))
    )
    op.create_index('ix_tariffs_kind_effective_from', 'tariffs', ['kind', 'effective_from'], unique=False)
    op.create_table('disputes',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('month', sa.String(length=7), nullable=False),
    sa.Column('pool_id', sa.Integer(), nullable=False),
    sa.Column('provider_id', sa.Integer(), nullable=False),
    sa.Column('bill_id', sa.Integer(), nullable=False),
    sa.Column('resource_id', sa.Integer(), nullable=True),
    sa.Column('external_id', sa.String(length=128), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('cause', sa.String(length=24), nullable=False),
    sa.Column('quantity', sa.Numeric(precision=20, scale=4), nullable=False),
    sa.Column('fen', sa.BigInteger(), nullable=True),
    sa.Column('refs', sa.JSON(), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('opened_at', quota.base.UtcDateTime(timezone=True), nullable=False),
    sa.Column('claimed_at', quota.base.UtcDateTime(timezone=True), nullable=True),
    sa.Column('claimed_by', sa.String(length=64), nullable=True),
    sa.Column('answer', sa.String(length=12), nullable=True),
    sa.Column('answered_at', quota.base.UtcDateTime(timezone=True), nullable=True),
    sa.Column('settled_at', quota.base.UtcDateTime(timezone=True), nullable=True),
    sa.Column('settled_by', sa.String(length=64), nullable=True),
    sa.Column('settled_fen', sa.BigInteger(), nullable=True),
    sa.Column('generation', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['bill_id'], ['bills.id'], name=op.f('fk_disputes_bill_id')),
    sa.ForeignKeyConstraint(['pool_id'], ['pools.id'], name=op.f('fk_disputes_pool_id')),
    sa.ForeignKeyConstraint(['provider_id'], ['cloud_providers.id'], name=op.f('fk_disputes_provider_id')),
    sa.ForeignKeyConstraint(['resource_id'], ['resources.id'], name=op.f('fk_disputes_resource_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_disputes')),
    sa.UniqueConstraint('month', 'pool_id', 'external_id', 'kind', 'cause', name=op.f('uq_disputes_month_pool_id_external_id_kind_cause'))
    )
    op.create_index('ix_disputes_state_provider_id', 'disputes', ['state', 'provider_id'], unique=False)
    op.create_table('reconciliations',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('month', sa.String(length=7), nullable=False),
    sa.Column('pool_id', sa.Integer(), nullable=False),
    sa.Column('provider_id', sa.Integer(), nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('bill_id', sa.Integer(), nullable=True),
    sa.Column('digest', sa.String(length=64), nullable=False),
    sa.Column('lines', sa.Integer(), nullable=False),
    sa.Column('differing', sa.Integer(), nullable=False),
    sa.Column('billed_fen', sa.BigInteger(), nullable=False),
    sa.Column('proven_fen', sa.BigInteger(), nullable=False),
    sa.Column('disputed_fen', sa.BigInteger(), nullable=False),
    sa.Column('unmeasured_fen', sa.BigInteger(), nullable=False),
    sa.Column('unbilled_fen', sa.BigInteger(), nullable=False),
    sa.Column('made_at', quota.base.UtcDateTime(timezone=True), nullable=False),
    sa.Column('made_by', sa.String(length=64), nullable=False),
    sa.ForeignKeyConstraint(['bill_id'], ['bills.id'], name=op.f('fk_reconciliations_bill_id')),
    sa.ForeignKeyConstraint(['pool_id'], ['pools.id'], name=op.f('fk_reconciliations_pool_id')),
    sa.ForeignKeyConstraint(['provider_id'], ['cloud_providers.id'], name=op.f('fk_reconciliations_provider_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reconciliations')),
    sa.UniqueConstraint('month', 'pool_id', 'revision', name=op.f('uq_reconciliations_month_pool_id_revision'))
    )
    op.create_table('statement_lines',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('run_id', sa.Integer(), nullable=False),
    sa.Column('charge', sa.String(length=12), nullable=False),
    sa.Column('corrects', sa.String(length=7), nullable=False),
    sa.Column('resource_id', sa.Integer(), nullable=False),
    sa.Column('pool_id', sa.Integer(), nullable=False),
    sa.Column('provider_id', sa.Integer(), nullable=False),
    sa.Column('department_id', sa.Integer(), nullable=True),
    sa.Column('system_id', sa.Integer(), nullable=True),
    sa.Column('catalog_item_id', sa.Integer(), nullable=True),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('stopped', sa.Boolean(), nullable=False),
    sa.Column('tariff_id', sa.Integer(), nullable=True),
    sa.Column('first_day', sa.Integer(), nullable=False),
    sa.Column('last_day', sa.Integer(), nullable=False),
    sa.Column('allocated', sa.BigInteger(), nullable=False),
    sa.Column('proven', sa.BigInteger(), nullable=False),
    sa.Column('quantity_nano', sa.BigInteger(), nullable=False),
    sa.Column('cost_fen', sa.BigInteger(), nullable=True),
    sa.Column('unmeasured_fen', sa.BigInteger(), nullable=True),
    sa.Column('days', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['catalog_item_id'], ['catalog_items.id'], name=op.f('fk_statement_lines_catalog_item_id')),
    sa.ForeignKeyConstraint(['department_id'], ['departments.id'], name=op.f('fk_statement_lines_department_id')),
    sa.ForeignKeyConstraint(['pool_id'], ['pools.id'], name=op.f('fk_statement_lines_pool_id')),
    sa.ForeignKeyConstraint(['provider_id'], ['cloud_providers.id'], name=op.f('fk_statement_lines_provider_id')),
    sa.ForeignKeyConstraint(['resource_id'], ['resources.id'], name=op.f('fk_statement_lines_resource_id')),
    sa.ForeignKeyConstraint(['run_id'], ['statement_runs.id'], name=op.f('fk_statement_lines_run_id')),
    sa.ForeignKeyConstraint(['system_id'], ['systems.id'], name=op.f('fk_statement_lines_system_id')),
    sa.ForeignKeyConstraint(['tariff_id'], ['tariffs.id'], name=op.f('fk_statement_lines_tariff_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_statement_lines'))
    )
    op.create_index('ix_statement_lines_run_id_department_id', 'statement_lines', ['run_id', 'department_id'], unique=False)
    op.create_index('ix_statement_lines_run_id_resource_id', 'statement_lines', ['run_id', 'resource_id'], unique=False)
    op.create_table('dispute_steps',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('dispute_id', sa.Integer(), nullable=False),
    sa.Column('at', quota.base.UtcDateTime(timezone=True), nullable=False),
    sa.Column('by', sa.String(length=64), nullable=False),
    sa.Column('verb', sa.String(length=12), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('fen', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['dispute_id'], ['disputes.id'], name=op.f('fk_dispute_steps_dispute_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dispute_steps'))
    )
    op.create_index(op.f('ix_dispute_steps_dispute_id'), 'dispute_steps', ['dispute_id'], unique=False)
    op.create_table('reconciliation_lines',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('run_id', sa.Integer(), nullable=False),
    sa.Column('pool_id', sa.Integer(), nullable=False),
    sa.Column('department_id', sa.Integer(), nullable=True),
    sa.Column('system_id', sa.Integer(), nullable=True),
    sa.Column('resource_id', sa.Integer(), nullable=True),
    sa.Column('external_id', sa.String(length=128), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('approved', sa.Numeric(precision=20, scale=4), nullable=False),
    sa.Column('enacted', sa.Numeric(precision=20, scale=4), nullable=False),
    sa.Column('metered', sa.Numeric(precision=20, scale=4), nullable=False),
    sa.Column('unmeasured', sa.Numeric(precision=20, scale=4), nullable=False),
    sa.Column('billed', sa.Numeric(precision=20, scale=4), nullable=True),
    sa.Column('billed_fen', sa.BigInteger(), nullable=True),
    sa.Column('disputed_fen', sa.BigInteger(), nullable=True),
    sa.Column('cause', sa.String(length=24), nullable=False),
    sa.Column('causes', sa.JSON(), nullable=False),
    sa.Column('refs', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['department_id'], ['departments.id'], name=op.f('fk_reconciliation_lines_department_id')),
    sa.ForeignKeyConstraint(['pool_id'], ['pools.id'], name=op.f('fk_reconciliation_lines_pool_id')),
    sa.ForeignKeyConstraint(['resource_id'], ['resources.id'], name=op.f('fk_reconciliation_lines_resource_id')),
    sa.ForeignKeyConstraint(['run_id'], ['reconciliations.id'], name=op.f('fk_reconciliation_lines_run_id')),
    sa.ForeignKeyConstraint(['system_id'], ['systems.id'], name=op.f('fk_reconciliation_lines_system_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reconciliation_lines'))
    )
    op.create_index('ix_reconciliation_lines_run_id_external_id', 'reconciliation_lines', ['run_id', 'external_id'], unique=False)
    op.add_column('bill_lines', sa.Column('cost', sa.Numeric(precision=16, scale=2), nullable=True))
    for name in GUARDED:
        for statement in append_only_ddl(name)[op.get_bind().dialect.name]:
            op.execute(statement)


def downgrade() -> None:
    op.drop_column('bill_lines', 'cost')
    op.drop_index('ix_reconciliation_lines_run_id_external_id', table_name='reconciliation_lines')
    op.drop_table('reconciliation_lines')
    op.drop_index(op.f('ix_dispute_steps_dispute_id'), table_name='dispute_steps')
    op.drop_table('dispute_steps')
    op.drop_index('ix_statement_lines_run_id_resource_id', table_name='statement_lines')
    op.drop_index('ix_statement_lines_run_id_department_id', table_name='statement_lines')
    op.drop_table('statement_lines')
    op.drop_table('reconciliations')
    op.drop_index('ix_disputes_state_provider_id', table_name='disputes')
    op.drop_table('disputes')
    op.drop_index('ix_tariffs_kind_effective_from', table_name='tariffs')
    op.drop_table('tariffs')
    op.drop_table('statement_runs')
    op.drop_table('month_closings')

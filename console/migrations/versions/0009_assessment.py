"""What companies and the steward say of deliveries, incidents and scores: remarks, ratings, records, appeals."""

import sqlalchemy as sa
from alembic import op

from quota.base import append_only_ddl, drop_append_only_ddl

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

GUARDED = ("assessment_records", "provider_remarks", "ratings")


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.create_table('assessment_records',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('provider_id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('happened_on', sa.Date(), nullable=False),
    sa.Column('valid_until', sa.Date(), nullable=True),
    sa.Column('figures', sa.JSON(), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('withdraws', sa.Integer(), nullable=True),
    sa.Column('recorded_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('recorded_by', sa.String(length=64), nullable=False),
    sa.ForeignKeyConstraint(['provider_id'], ['cloud_providers.id'], name=op.f('fk_assessment_records_provider_id')),
    sa.ForeignKeyConstraint(['withdraws'], ['assessment_records.id'], name=op.f('fk_assessment_records_withdraws')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_assessment_records')),
    sa.UniqueConstraint('withdraws', name=op.f('uq_assessment_records_withdraws'))
    )
    op.create_index('ix_assessment_records_provider_id_happened_on', 'assessment_records', ['provider_id', 'happened_on'], unique=False)
    op.create_table('compatibility',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('provider_id', sa.Integer(), nullable=False),
    sa.Column('chip', sa.String(length=32), nullable=False),
    sa.Column('system', sa.String(length=64), nullable=False),
    sa.Column('database', sa.String(length=64), nullable=False),
    sa.Column('middleware', sa.String(length=64), nullable=False),
    sa.Column('fitness', sa.String(length=12), nullable=False),
    sa.Column('required', sa.Boolean(), nullable=False),
    sa.Column('certificate', sa.String(length=128), nullable=False),
    sa.Column('valid_until', sa.Date(), nullable=True),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_by', sa.String(length=64), nullable=False),
    sa.ForeignKeyConstraint(['provider_id'], ['cloud_providers.id'], name=op.f('fk_compatibility_provider_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_compatibility')),
    sa.UniqueConstraint('provider_id', 'chip', 'system', 'database', 'middleware', name=op.f('uq_compatibility_provider_id_chip_system_database_middleware'))
    )
    op.create_table('provider_remarks',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('subject', sa.String(length=64), nullable=False),
    sa.Column('provider_id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=12), nullable=False),
    sa.Column('answers', sa.Integer(), nullable=True),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('by', sa.String(length=64), nullable=False),
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('role', sa.String(length=16), nullable=False),
    sa.ForeignKeyConstraint(['answers'], ['provider_remarks.id'], name=op.f('fk_provider_remarks_answers')),
    sa.ForeignKeyConstraint(['provider_id'], ['cloud_providers.id'], name=op.f('fk_provider_remarks_provider_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_provider_remarks')),
    sa.UniqueConstraint('answers', name=op.f('uq_provider_remarks_answers'))
    )
    op.create_index(op.f('ix_provider_remarks_provider_id'), 'provider_remarks', ['provider_id'], unique=False)
    op.create_index('ix_provider_remarks_subject', 'provider_remarks', ['subject'], unique=False)
    op.create_table('scorecard_appeals',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('scorecard_id', sa.Integer(), nullable=False),
    sa.Column('provider_id', sa.Integer(), nullable=False),
    sa.Column('period', sa.String(length=7), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('refs', sa.JSON(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('filed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('filed_by', sa.String(length=64), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('struck', sa.JSON(), nullable=False),
    sa.Column('ruling', sa.Text(), nullable=False),
    sa.Column('ruled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ruled_by', sa.String(length=64), nullable=True),
    sa.Column('result_id', sa.Integer(), nullable=True),
    sa.ForeignKeyConstraint(['provider_id'], ['cloud_providers.id'], name=op.f('fk_scorecard_appeals_provider_id')),
    sa.ForeignKeyConstraint(['result_id'], ['scorecards.id'], name=op.f('fk_scorecard_appeals_result_id')),
    sa.ForeignKeyConstraint(['scorecard_id'], ['scorecards.id'], name=op.f('fk_scorecard_appeals_scorecard_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_scorecard_appeals')),
    sa.UniqueConstraint('provider_id', 'period', name=op.f('uq_scorecard_appeals_provider_id_period'))
    )
    op.create_index(op.f('ix_scorecard_appeals_scorecard_id'), 'scorecard_appeals', ['scorecard_id'], unique=False)
    op.create_table('ratings',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('order_id', sa.Integer(), nullable=False),
    sa.Column('provider_id', sa.Integer(), nullable=False),
    sa.Column('pool_id', sa.Integer(), nullable=False),
    sa.Column('department_id', sa.Integer(), nullable=False),
    sa.Column('stars', sa.Integer(), nullable=False),
    sa.Column('word', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('by', sa.String(length=64), nullable=False),
    sa.CheckConstraint('stars BETWEEN 1 AND 5', name=op.f('ck_ratings_stars')),
    sa.ForeignKeyConstraint(['department_id'], ['departments.id'], name=op.f('fk_ratings_department_id')),
    sa.ForeignKeyConstraint(['order_id'], ['work_orders.id'], name=op.f('fk_ratings_order_id')),
    sa.ForeignKeyConstraint(['pool_id'], ['pools.id'], name=op.f('fk_ratings_pool_id')),
    sa.ForeignKeyConstraint(['provider_id'], ['cloud_providers.id'], name=op.f('fk_ratings_provider_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ratings')),
    sa.UniqueConstraint('order_id', name=op.f('uq_ratings_order_id'))
    )
    op.create_index(op.f('ix_ratings_at'), 'ratings', ['at'], unique=False)
    op.create_index(op.f('ix_ratings_provider_id'), 'ratings', ['provider_id'], unique=False)
    op.add_column('incidents', sa.Column('description', sa.Text(), nullable=False, server_default=''))
    op.add_column('incidents', sa.Column('evidence', sa.Text(), nullable=False, server_default=''))
    op.add_column('scorecards', sa.Column('veto', sa.JSON(), nullable=False, server_default='[]'))
    op.add_column('scorecards', sa.Column('reason', sa.Text(), nullable=False, server_default=''))
    op.add_column('scorecards', sa.Column('computed_by', sa.String(length=64), nullable=False, server_default=''))
    for table in GUARDED:
        for statement in append_only_ddl(table)[dialect]:
            op.execute(statement)


def downgrade() -> None:
    dialect = op.get_bind().dialect.name
    for table in GUARDED:
        for statement in drop_append_only_ddl(table)[dialect]:
            op.execute(statement)
    op.drop_column('scorecards', 'computed_by')
    op.drop_column('scorecards', 'reason')
    op.drop_column('scorecards', 'veto')
    op.drop_column('incidents', 'evidence')
    op.drop_column('incidents', 'description')
    op.drop_index(op.f('ix_ratings_provider_id'), table_name='ratings')
    op.drop_index(op.f('ix_ratings_at'), table_name='ratings')
    op.drop_table('ratings')
    op.drop_index(op.f('ix_scorecard_appeals_scorecard_id'), table_name='scorecard_appeals')
    op.drop_table('scorecard_appeals')
    op.drop_index('ix_provider_remarks_subject', table_name='provider_remarks')
    op.drop_index(op.f('ix_provider_remarks_provider_id'), table_name='provider_remarks')
    op.drop_table('provider_remarks')
    op.drop_table('compatibility')
    op.drop_index('ix_assessment_records_provider_id_happened_on', table_name='assessment_records')
    op.drop_table('assessment_records')

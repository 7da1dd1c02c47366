"""Policies before they hold, their replays, and the business calendars of departments and systems."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('policy_drafts',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=48), nullable=False),
    sa.Column('based_on_id', sa.Integer(), nullable=True),
    sa.Column('document', sa.JSON(), nullable=False),
    sa.Column('procedure', sa.JSON(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('digest', sa.String(length=64), nullable=False),
    sa.Column('drafted_by', sa.String(length=64), nullable=False),
    sa.Column('drafted_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('withdrawn_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('enacted_id', sa.Integer(), nullable=True),
    sa.ForeignKeyConstraint(['based_on_id'], ['policy_versions.id'], name=op.f('fk_policy_drafts_based_on_id')),
    sa.ForeignKeyConstraint(['enacted_id'], ['policy_versions.id'], name=op.f('fk_policy_drafts_enacted_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_policy_drafts'))
    )
    op.create_index(op.f('ix_policy_drafts_digest'), 'policy_drafts', ['digest'], unique=False)
    op.create_index(op.f('ix_policy_drafts_name'), 'policy_drafts', ['name'], unique=False)
    op.create_table('policy_replays',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('digest', sa.String(length=64), nullable=False),
    sa.Column('document', sa.JSON(), nullable=False),
    sa.Column('in_force_id', sa.Integer(), nullable=False),
    sa.Column('state', sa.String(length=8), nullable=False),
    sa.Column('done', sa.Integer(), nullable=False),
    sa.Column('total', sa.Integer(), nullable=False),
    sa.Column('first_day', sa.Date(), nullable=True),
    sa.Column('last_day', sa.Date(), nullable=True),
    sa.Column('result', sa.JSON(), nullable=False),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('asked_by', sa.String(length=64), nullable=False),
    sa.Column('asked_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['in_force_id'], ['policy_versions.id'], name=op.f('fk_policy_replays_in_force_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_policy_replays'))
    )
    op.create_index('ix_policy_replays_digest_ended', 'policy_replays', ['digest', 'ended_at'], unique=False)
    op.create_index(op.f('ix_policy_replays_state'), 'policy_replays', ['state'], unique=False)
    op.create_table('business_periods',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('department_id', sa.Integer(), nullable=True),
    sa.Column('system_id', sa.Integer(), nullable=True),
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('recurs', sa.String(length=16), nullable=False),
    sa.Column('first_day', sa.Integer(), nullable=True),
    sa.Column('last_day', sa.Integer(), nullable=True),
    sa.Column('starts_on', sa.Date(), nullable=True),
    sa.Column('ends_on', sa.Date(), nullable=True),
    sa.Column('festival', sa.String(length=32), nullable=False),
    sa.Column('lead_days', sa.Integer(), nullable=False),
    sa.Column('declared_by', sa.String(length=64), nullable=False),
    sa.Column('declared_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('withdrawn_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('(department_id IS NULL) <> (system_id IS NULL)', name=op.f('ck_business_periods_one_owner')),
    sa.CheckConstraint('lead_days BETWEEN 0 AND 60', name=op.f('ck_business_periods_lead_days')),
    sa.ForeignKeyConstraint(['department_id'], ['departments.id'], name=op.f('fk_business_periods_department_id')),
    sa.ForeignKeyConstraint(['system_id'], ['systems.id'], name=op.f('fk_business_periods_system_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_business_periods'))
    )
    op.create_index(op.f('ix_business_periods_department_id'), 'business_periods', ['department_id'], unique=False)
    op.create_index(op.f('ix_business_periods_system_id'), 'business_periods', ['system_id'], unique=False)


def downgrade() -> None:
    op.drop_index(op.f('ix_business_periods_system_id'), table_name='business_periods')
    op.drop_index(op.f('ix_business_periods_department_id'), table_name='business_periods')
    op.drop_table('business_periods')
    op.drop_index(op.f('ix_policy_replays_state'), table_name='policy_replays')
    op.drop_index('ix_policy_replays_digest_ended', table_name='policy_replays')
    op.drop_table('policy_replays')
    op.drop_index(op.f('ix_policy_drafts_name'), table_name='policy_drafts')
    op.drop_index(op.f('ix_policy_drafts_digest'), table_name='policy_drafts')
    op.drop_table('policy_drafts')

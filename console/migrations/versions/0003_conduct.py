"""How cases are kept from doing harm: change windows and freezes, protected tags, suspensions; temporary growth ends."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('cases') as batch:
        batch.add_column(sa.Column('ends_on', sa.Date(), nullable=True))
    op.create_table('change_windows',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('pool_id', sa.Integer(), nullable=True),
    sa.Column('weekdays', sa.String(length=7), nullable=False),
    sa.Column('begins', sa.Integer(), nullable=False),
    sa.Column('ends', sa.Integer(), nullable=False),
    sa.Column('set_by', sa.String(length=64), nullable=False),
    sa.Column('set_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('lifted_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('begins BETWEEN 0 AND 1439 AND ends BETWEEN 0 AND 1440', name=op.f('ck_change_windows_minutes')),
    sa.ForeignKeyConstraint(['pool_id'], ['pools.id'], name=op.f('fk_change_windows_pool_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_change_windows'))
    )
    op.create_index(op.f('ix_change_windows_pool_id'), 'change_windows', ['pool_id'], unique=False)
    op.create_table('change_freezes',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('pool_id', sa.Integer(), nullable=True),
    sa.Column('first_day', sa.Date(), nullable=False),
    sa.Column('last_day', sa.Date(), nullable=False),
    sa.Column('reason', sa.String(length=256), nullable=False),
    sa.Column('set_by', sa.String(length=64), nullable=False),
    sa.Column('set_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('lifted_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('last_day >= first_day', name=op.f('ck_change_freezes_days')),
    sa.ForeignKeyConstraint(['pool_id'], ['pools.id'], name=op.f('fk_change_freezes_pool_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_change_freezes'))
    )
    op.create_index(op.f('ix_change_freezes_pool_id'), 'change_freezes', ['pool_id'], unique=False)
    op.create_table('protected_tags',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('value', sa.String(length=128), nullable=False),
    sa.Column('reason', sa.String(length=256), nullable=False),
    sa.Column('set_by', sa.String(length=64), nullable=False),
    sa.Column('set_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('lifted_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_protected_tags'))
    )
    op.create_table('policy_suspensions',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('policy_version_id', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('acted', sa.Integer(), nullable=False),
    sa.Column('regretted', sa.Integer(), nullable=False),
    sa.Column('limit', sa.Float(), nullable=False),
    sa.Column('lifted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('lifted_by', sa.String(length=64), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['policy_version_id'], ['policy_versions.id'], name=op.f('fk_policy_suspensions_policy_version_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_policy_suspensions'))
    )
    op.create_index(op.f('ix_policy_suspensions_policy_version_id'), 'policy_suspensions', ['policy_version_id'], unique=False)


def downgrade() -> None:
    op.drop_index(op.f('ix_policy_suspensions_policy_version_id'), table_name='policy_suspensions')
    op.drop_table('policy_suspensions')
    op.drop_table('protected_tags')
    op.drop_index(op.f('ix_change_freezes_pool_id'), table_name='change_freezes')
    op.drop_table('change_freezes')
    op.drop_index(op.f('ix_change_windows_pool_id'), table_name='change_windows')
    op.drop_table('change_windows')
    with op.batch_alter_table('cases') as batch:
        batch.drop_column('ends_on')

"""Find the session at a source that its name means: whoever says that one ended there may be anybody.

Locks: identity_sessions against writing, for the moment in which an index is built. Back: the index goes.
"""

from alembic import op

revision = "0125"
down_revision = "0143"
branch_labels = None
depends_on = None

NAME = "ix_identity_sessions_issuer_session"


def upgrade() -> None:
    op.create_index(NAME, "identity_sessions", ["issuer", "session"])


def downgrade() -> None:
    op.drop_index(NAME, "identity_sessions")

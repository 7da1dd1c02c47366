"""Alembic's entry: runs the versions on the connection that ``console.schema`` hands over."""

from alembic import context

from console.schema import models  # noqa: F401
from quota.base import Base, UtcDateTime


def render(kind: str, value: object, _context: object) -> str | bool:
    """Versions are frozen: they name SQLAlchemy's types, not the house's, which may change."""
    if kind == "type" and isinstance(value, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    render_item=render,
)
context.run_migrations()

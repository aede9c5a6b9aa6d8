"""Runs the migrations on the connection that `store.database.upgrade` passes in."""

from alembic import context

from roster_pipeline.store.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

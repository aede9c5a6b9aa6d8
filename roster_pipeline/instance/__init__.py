"""Dagster's storage with its connections kept open, which halves what a run costs: `sqlite` and `postgres`.

Named by `dagster.yaml` and by `deploy/postgres/dagster.yaml`. Tables and files are Dagster's own: an instance
may change between these and Dagster's `sqlite` and `postgres` at any time.
"""

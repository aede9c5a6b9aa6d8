"""Dagster's UI as an operator meets it, in Debian's Chromium."""

"""Nights: the windows, which tenant is asked for when, how long a sync may take, and when a night ends.

Pure functions of instants and of what the ledger knows (`store.nights` reads it); Dagster's ticks only
carry out what is decided here.
"""

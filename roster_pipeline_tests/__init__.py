"""The tests: `unit` mirrors the package, `graph` runs assets and ticks, `postgres` needs its programs.

What several of them need is in `conftest.py`; what one folder needs is in that folder's own.
"""

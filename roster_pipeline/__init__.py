"""A nightly OneRoster sync: providers are read, filtered, merged into stable identities and published.

`definitions.py` shows the whole graph on one page; the folders are its rooms:
`oneroster` (the protocol), `providers` (what each kind adds), `rosters` (the rules), `tenants`
(who is synced, and how), `store` (lake and database), `assets` (what Dagster materialises).
Importing this package reads nothing and opens nothing.
"""

__version__ = "0.1.0"

"""Any other OneRoster server: 1.1 or 1.2, by OAuth 2 where there is a token URL, else by OAuth 1.0a.

The version is the configured one, or that of the base path which was pasted, or the first that
answers: 1.2, then 1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from roster_pipeline.providers import rest
from roster_pipeline.providers.reading import CollectionRead, LastingSink, Probed, Reading

if TYPE_CHECKING:
    from roster_pipeline.tenants.document import Provider

DIALECT: Final = rest.Dialect(versions=("1.2", "1.1"), oauth2=False, method="HMAC-SHA1")


def read(provider: Provider, sink: LastingSink, reading: Reading) -> list[CollectionRead]:
    """Reads the six collections."""
    return rest.read(provider, sink, reading, DIALECT)


def probe(provider: Provider, reading: Reading) -> list[Probed]:
    """Reads one page of each collection."""
    return rest.probe(provider, reading, DIALECT)

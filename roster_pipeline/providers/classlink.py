"""ClassLink's Roster Server, directly: OneRoster 1.1 with requests signed by OAuth 1.0a.

Key, secret and endpoint URL are those of the app's API Credentials tab. There is no token endpoint
on this server, and version 1.1 is spoken also where the app is labelled 1.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from roster_pipeline.providers import rest
from roster_pipeline.providers.reading import CollectionRead, LastingSink, Probed, Reading

if TYPE_CHECKING:
    from roster_pipeline.tenants.document import Provider

DIALECT: Final = rest.Dialect(versions=("1.1",), oauth2=False, method="HMAC-SHA256")


def read(provider: Provider, sink: LastingSink, reading: Reading) -> list[CollectionRead]:
    """Reads the six collections."""
    return rest.read(provider, sink, reading, DIALECT)


def probe(provider: Provider, reading: Reading) -> list[Probed]:
    """Reads one page of each collection."""
    return rest.probe(provider, reading, DIALECT)

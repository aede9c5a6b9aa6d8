"""PowerSchool: OneRoster 1.1 behind OAuth 2; the credentials come from the plug-in's data configuration.

`endpoint_url` is the hosted root (`https://sis.powerschool.com/api/`) or a district's own server,
`token_url` is told beside it and cannot be derived. Ids come padded with blanks, page sizes are
capped by the plug-in's "Maximum Page Size"; `oneroster` bears both with every server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from roster_pipeline.providers import rest
from roster_pipeline.providers.reading import CollectionRead, LastingSink, Probed, Reading

if TYPE_CHECKING:
    from roster_pipeline.tenants.document import Provider

DIALECT: Final = rest.Dialect(versions=("1.1",), oauth2=True, method="HMAC-SHA256")


def read(provider: Provider, sink: LastingSink, reading: Reading) -> list[CollectionRead]:
    """Reads the six collections."""
    return rest.read(provider, sink, reading, DIALECT)


def probe(provider: Provider, reading: Reading) -> list[Probed]:
    """Reads one page of each collection."""
    return rest.probe(provider, reading, DIALECT)

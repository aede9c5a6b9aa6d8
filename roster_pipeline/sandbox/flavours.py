"""What tells one kind of OneRoster server from another: paths, authentication, headers, guardians.

A flavour is data. What a server does wrong belongs in `misbehaviour`; what it serves, in `source`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Version = Literal["1.1", "1.2"]


@dataclass(frozen=True, slots=True)
class Flavour:
    """One kind of server; `token_path` is None where no tokens are issued."""

    name: str
    version: Version
    base: str
    token_path: str | None = None
    signatures: bool = False
    needs_scope: bool = False
    links: bool = False
    revision: bool = False
    guardians: bool = True

    @property
    def tokens(self) -> bool:
        """Whether OAuth 2 client credentials are accepted."""
        return self.token_path is not None


PAGE_CAP: Final = 1000
"""Most rows a page, unless a server is told otherwise; larger limits are clamped silently."""

_V1P1 = "/ims/oneroster/v1p1"
_V1P2 = "/ims/oneroster/rostering/v1p2"

FLAVOURS: Final[dict[str, Flavour]] = {
    flavour.name: flavour
    for flavour in (
        # Asks for no scope, and hands out no guardians through this integration.
        Flavour("powerschool", "1.1", _V1P1, f"{_V1P1}/token", guardians=False),
        # The direct server has no token endpoint; it adds x-count and x-perm-rev.
        Flavour("classlink", "1.1", _V1P1, signatures=True, revision=True),
        Flavour("oneroster-1.1", "1.1", _V1P1, f"{_V1P1}/token", signatures=True, links=True),
        # Its tokens come from elsewhere than the base: a token URL can never be derived from the endpoint.
        Flavour("oneroster-1.2", "1.2", _V1P2, "/oauth/token", needs_scope=True, links=True),
    )
}

"""What tells one kind of OneRoster server from another: paths, authentication, headers, guardians.

A flavour is data. What a server does wrong belongs in `misbehaviour`; what it serves, in `source`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Version = Literal["1.1", "1.2"]


@dataclass(frozen=True, slots=True)
class Flavour:
    """One kind of server; `token_path` is None where no tokens are issued.

    Attributes:
        page_cap: Most rows a page, unless a server is told otherwise; larger limits are clamped silently.
        counts: Whether the answers tell how many rows there are.
        parameters: Whether sort, orderBy, filter and fields are understood; if not: 400.
        offers: The endpoints that are there, as lists alone; None for all of them, with single objects.
        loose: Rows and their wrappers as `rows.Writer` loosens them.
    """

    name: str
    version: Version
    base: str
    token_path: str | None = None
    signatures: bool = False
    needs_scope: bool = False
    links: bool = False
    revision: bool = False
    guardians: bool = True
    page_cap: int = 1000
    counts: bool = True
    parameters: bool = True
    offers: frozenset[str] | None = None
    loose: bool = False

    @property
    def tokens(self) -> bool:
        """Whether OAuth 2 client credentials are accepted."""
        return self.token_path is not None


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
        # Just enough to be called OneRoster: what compatibility mode is for. It has no academic sessions.
        Flavour(
            "minimum",
            "1.1",
            _V1P1,
            f"{_V1P1}/token",
            signatures=True,
            page_cap=100,
            counts=False,
            parameters=False,
            offers=frozenset({"orgs", "courses", "classes", "users", "enrollments"}),
            loose=True,
        ),
    )
}

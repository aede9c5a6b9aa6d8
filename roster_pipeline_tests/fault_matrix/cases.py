"""What a case of the matrix is, which combinations it comes in, and what a sync must tell of each.

The cases themselves are in `servers` and `exports`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.source import Tables

Shape = Literal["one", "many", "folder", "zip"]
SYNCS: Final = ("first", "later")
STORES: Final = ("sqlite", "postgres")
SERVERS: Final = ("powerschool", "classlink", "oneroster-1.1", "oneroster-1.2")
EXPORTS: Final = ("csv-1.1", "csv-1.2")
PAGES: Final[tuple[Shape, ...]] = ("one", "many")
PACKAGES: Final[tuple[Shape, ...]] = ("folder", "zip")

Files = dict[str, bytes]


@dataclass(frozen=True)
class Case:
    """A fault, and what must come of it.

    Attributes:
        name: Its name on the command line and in the list of combinations.
        does: What a sync does then, for an operator.
        told: What the sync with the fault tells, as `running.summary` puts it: by `first` and `later`,
            and where it differs by `later many` or `first classlink`: of those that fit the longest wins.
        faults: What the server does wrong; of an export what happens to its rows.
        spoils: What happens to an export's files besides.
        kinds: Which servers or exports can have it.
        shapes: On how many pages, or in which package.
        stores: In which databases.
        after: Codes that the good sync after it may tell.
        goes: Whether rows are really gone, so that a complete extract rightly takes them away.
        new_secret: Whether the operator's new secret mends it.
    """

    name: str
    does: str
    told: dict[str, str]
    faults: tuple[Misbehaviour, ...] = ()
    spoils: Callable[[Files, Tables], Files] | None = field(default=None, compare=False)
    kinds: tuple[str, ...] = SERVERS
    shapes: tuple[Shape, ...] = ("one", "many")
    stores: tuple[str, ...] = STORES
    after: frozenset[str] = frozenset()
    goes: bool = False
    new_secret: bool = False

    def expected(self, sync: str, kind: str, shape: str) -> str:
        """What the sync with the fault must tell."""
        here = {sync, kind, shape}
        fits = [key for key in self.told if key.split()[0] == sync and here.issuperset(key.split())]
        return self.told[max(fits, key=lambda key: len(key.split()))] if fits else "?"

    def pairs(self) -> Iterator[tuple[str, Shape, str]]:
        """Each kind, shape and database that it comes in; of the two packages each version has one."""
        for number, kind in enumerate(self.kinds, len(self.name)):
            for shape in (PACKAGES[number % 2],) if self.shapes == PACKAGES else self.shapes:
                for store in self.stores:
                    yield kind, shape, store


@dataclass(frozen=True)
class Combination:
    """One sync of the matrix; as text `case/kind/sync/shape/store`."""

    case: str
    kind: str
    sync: str
    shape: str
    store: str

    def __str__(self) -> str:
        return f"{self.case}/{self.kind}/{self.sync}/{self.shape}/{self.store}"


# ------------------------------------------------------------------------------------ what many tell


def unread(code: str, names: str = "all") -> dict[str, str]:
    """What is told where collections could not be read."""
    status = f"failed {code} RS-PRV-01" if names == "all" else f"partial {code}"
    return {
        "first": f"failed {code} RS-PRV-01 RS-PRV-02 failed={names}",
        "later": f"{status} RS-SAFE-05 stale={names}",
    }


def both(told: str) -> dict[str, str]:
    """What is told by a first sync and by a later one."""
    return {"first": told, "later": told}


WELL: Final = both("successful")

DOUBTED: Final = "What came is added, and nothing is removed."
STALE: Final = "What was published stays; the last complete extract stands in for what could not be read."
NOTHING: Final = "Nothing is published; what was published before stays."
AGAIN: Final = "It is asked for again, and the sync goes on."

NEW_IDS: Final = frozenset({"RS-SAFE-19"})
"""The ids of before are new ones, too, when they come back."""

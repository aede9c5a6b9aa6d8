"""Who must not come back: how somebody is recognised without being known, and what becomes of their rows.

Of whom was forgotten only digests are kept. A row of theirs is blanked before it is written anywhere: it
stays as a row, so that what was received is counted, with its role and place alone; to the rules it is one
that was dropped for the reason `forgotten`. docs/security.md has the rule in words.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from roster_pipeline.oneroster import vocabulary
from roster_pipeline.rosters import rows

Key = tuple[int, str]
"""A provider's or directory's user: (provider_id, sourcedId)."""

Mark = tuple[str, ...]
"""What somebody is recognised by; its first word says what it is."""

_SPEAKING: Final = {
    "users": ("email", "givenName", "familyName", "identifier", "userMasterIdentifier"),
    "people": ("email", "given_name", "family_name"),
}
_STAYS: Final = {"users": (), "people": (), "enrollments": ("class", "school", "role")}
"""Collection → the columns that say nothing of a person."""


def mark_of_user(key: Key) -> Mark:
    """The mark of a sourcedId at its provider: it decides alone."""
    return "user", str(key[0]), key[1]


def mark_of_person(person_id: str) -> Mark:
    """The mark of our own id: no source has it, tables between the assets do."""
    return "person", person_id


def marks_of_values(
    provider_id: int, email: str, given: str, family: str, identifier: str = "", master: str = ""
) -> list[Mark]:
    """The marks of what a row says: none of them is somebody's for ever.

    An address may be shared in a family, passed on, or given again, and so may a number: each counts
    together with both names. Only the `userMasterIdentifier` is for one human by definition. A masked
    value is none.
    """
    names = _plain(given), _plain(family)
    found: list[Mark] = []
    if email and not vocabulary.is_masked(email):
        found.append(("e-mail", _plain(email), *names))
    if identifier and all(names):
        found.append(("identifier", str(provider_id), identifier, *names))
    if master:
        found.append(("master", str(provider_id), master))
    return found


def marks_to_forget(provider_id: int, **values: str) -> list[Mark]:
    """The marks by which somebody with these values is recognised: `marks_of_values`, and one more.

    A row that has the address and no names at all, as directories send them, contradicts nothing.
    """
    found = marks_of_values(provider_id, **values)
    return found + [(*mark[:2], "", "") for mark in found if mark[0] == "e-mail"]


def _plain(text: str) -> str:
    """As it compares: the same for other letter case, other blanks, and another way to write an accent."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def digest(salt: str, mark: Mark) -> str:
    """HMAC-SHA-256 of a mark, hexadecimal.

    The salt is random and the tenant's own: no table that was made beforehand fits, two tenants' digests
    of one child differ, and readers of the roster see neither (docs/security.md). It does not protect
    against somebody who has the database with the salt in it and a list of names to try. Nothing could
    that lets a sync ask the same question of hundreds of thousands of rows a night: a hash that takes a
    tenth of a second would cost that sync half a day, and the one with the list a minute.
    """
    return hmac.digest(bytes.fromhex(salt), "\x1f".join(mark).encode(), "sha256").hex()


@dataclass(slots=True)
class Forgotten:
    """Whom one tenant's sources must not bring back.

    Attributes:
        salt: Of the digests, hexadecimal.
        digests: Digest → the receipt that it belongs to.
        linked: Users who stand behind somebody who is not forgotten: only their own id can name them.
        newly: Is told the digests of ids under which somebody came who was recognised by other values,
            with their receipts: from then on the id decides.
    """

    salt: str
    digests: dict[str, int]
    linked: Collection[Key] = frozenset()
    newly: Callable[[Mapping[str, int]], None] = lambda found: None
    _known: dict[Mark, int] = field(default_factory=dict)

    def is_user(self, key: Key) -> bool:
        """Whether this sourcedId is a forgotten one's; remembered, as enrolments name it again and again."""
        return bool(key[1]) and self._receipt(mark_of_user(key)) > 0

    def is_person(self, person_id: str) -> bool:
        """Whether this was a forgotten person's id."""
        return bool(person_id) and self._receipt(mark_of_person(person_id)) > 0

    def _receipt(self, mark: Mark) -> int:
        found = self._known.get(mark)
        if found is None:
            found = self._known[mark] = self.digests.get(digest(self.salt, mark), 0)
        return found

    def by_values(self, key: Key, values: Sequence[str]) -> int:
        """The receipt of whom a row's values name, 0 for nobody: only of a user who is nobody's yet."""
        if key in self.linked:
            return 0
        for mark in marks_of_values(key[0], *values):
            receipt = self.digests.get(digest(self.salt, mark), 0)
            if receipt:
                return receipt
        return 0

    # ------------------------------------------------------------------ rows as they are read

    def blanked(self, provider_id: int, collection: str, page: pa.Table) -> pa.Table:
        """The page of a collection without what it says of the forgotten; as many rows as before."""
        if collection in _SPEAKING:
            return self._blanked_users(provider_id, collection, page)
        if collection == "enrollments":
            users = page["user"].to_pylist()
            return self._blank(collection, page, [self.is_user((provider_id, user)) for user in users])
        return page

    def _blanked_users(self, provider_id: int, collection: str, page: pa.Table) -> pa.Table:
        ids = page[page.column_names[0]].to_pylist()
        values = zip(*(page[name].to_pylist() for name in _SPEAKING[collection]), strict=True)
        gone, new = [], {}
        for source_id, said in zip(ids, values, strict=True):
            key = provider_id, source_id
            is_theirs = self.is_user(key)
            if not is_theirs:
                receipt = self.by_values(key, said)
                if receipt and source_id:
                    mark = mark_of_user(key)
                    new[digest(self.salt, mark)] = self._known[mark] = receipt
                is_theirs = receipt > 0
            gone.append(is_theirs)
        if new:
            self.digests.update(new)
            self.newly(new)
        page = self._blank(collection, page, gone)
        return self._without_agents(provider_id, page) if collection == "users" else page

    def _blank(self, collection: str, page: pa.Table, gone: Sequence[bool]) -> pa.Table:
        if not any(gone):
            return page
        columns = []
        for place, name in enumerate(page.column_names):
            values: list[str] = page[name].to_pylist()
            if name not in _STAYS[collection]:
                says = self._says(collection, name, place)
                values = [says(text) if blank else text for text, blank in zip(values, gone, strict=True)]
            columns.append(pa.array(values, pa.string()))
        return pa.table(columns, names=page.column_names)

    def _says(self, collection: str, name: str, place: int) -> Callable[[str], str]:
        """What stands in a column of a blank row."""
        if name == "status":
            return lambda text: rows.BLANKED
        if name == "roles":
            return _place
        if place == 0 and collection != "people":  # rows are counted by their ids, also when reading goes on
            return lambda text: text and f" {digest(self.salt, ('row', collection, text))[:32]}"
        return lambda text: ""

    def _without_agents(self, provider_id: int, page: pa.Table) -> pa.Table:
        """The forgotten are nobody's guardian and nobody's child any more."""
        before = page["agents"].to_pylist()
        after = [self.without(provider_id, agents) for agents in before]
        return page if after == before else _with_column(page, "agents", after)

    def without(self, provider_id: int, users: str) -> str:
        """A list column of sourcedIds without those of the forgotten."""
        if not users:
            return users
        every = rows.parse_list(users)
        stay = [user for user in every if not self.is_user((provider_id, user))]
        return users if len(stay) == len(every) else rows.as_list(stay)


class ForgettingSink:
    """A reader's sink that never sees what the forgotten's rows say; everything else is the sink's."""

    def __init__(self, sink: Any, forgotten: Forgotten, provider_id: int) -> None:
        """Stands before `sink`, for one provider's reading."""
        self._sink, self._forgotten, self._provider_id = sink, forgotten, provider_id
        self._may_end: set[str] = set()
        """The collections whose last row so far may be one of the forgotten."""

    def append(
        self,
        collection: str,
        page: pa.Table,
        bookmark: dict[str, Any] | None = None,
        fingerprint: str = "",
    ) -> None:
        """Hands the page on, blanked.

        A fingerprint is of all that a page said, and of the last row before it, with which it may begin:
        where either is one of the forgotten, it is not kept.
        """
        blanked = self._forgotten.blanked(self._provider_id, collection, page)
        if blanked is not page or collection in self._may_end:
            fingerprint = ""
        if blanked is not page:
            self._may_end.add(collection)
        elif page.num_rows:
            self._may_end.discard(collection)
        self._sink.append(collection, blanked, bookmark, fingerprint)

    def go_on(self, collection: str, interrupted: Any) -> None:
        """Of the last row that is taken over nobody says here whose it is."""
        self._may_end.add(collection)
        self._sink.go_on(collection, interrupted)

    def __getattr__(self, name: str) -> Any:
        """The sink's own."""
        return getattr(self._sink, name)


def _place(roles: str) -> str:
    """`users.roles` without dates: which role at which school, as many have it."""
    return rows.as_list([[role, org, "", ""] for role, org, *_ in rows.parse_list(roles)])


def _with_column(page: pa.Table, name: str, values: Sequence[str]) -> pa.Table:
    place = page.column_names.index(name)
    return page.set_column(place, name, pa.array(values, pa.string()))

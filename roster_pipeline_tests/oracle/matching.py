"""Who is who: product.md, "Merging"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from roster_pipeline_tests.oracle.tonight import Silent, User, masked

Group = tuple[User, ...]


@dataclass(frozen=True)
class Values:
    """What a row says of somebody."""

    given: str = ""
    family: str = ""
    email: str = ""
    student: bool = False
    identifier: str = ""
    master: str = ""
    user_ids: frozenset[tuple[str, str]] = frozenset()

    @property
    def names(self) -> tuple[str, str]:
        return self.given, self.family


@dataclass(frozen=True)
class Source:
    """A provider or directory, as the merge sees it."""

    name: str
    without_domain: bool = False
    attach_only: bool = False
    names_matter: bool = False
    directory: bool = False
    may_create: bool = True
    complete: bool = True

    def key(self, email: str) -> str:
        """ "The whole address, case-sensitive" or "what stands before the last @"; "a missing or masked key
        is no key"."""
        if not email or masked(email):
            return ""
        return email[: email.rindex("@")] if self.without_domain and "@" in email else email


@dataclass(frozen=True)
class Known:
    """A person of the register, as published last."""

    names: tuple[str, str]
    emails: frozenset[str]  # the published one, and those of their rows: "a new sourcedId keeps the id"


@dataclass
class Decided:
    """The outcome of every user, and who each one is (a number; new people have new ones)."""

    outcomes: dict[User, str] = field(default_factory=dict)
    person: dict[User, int] = field(default_factory=dict)
    reused: dict[User, int] = field(default_factory=dict)
    merged_into: dict[int, int] = field(default_factory=dict)


def fold(users: Mapping[User, Values]) -> list[Group]:
    """ "Rows of one provider are one person only by userMasterIdentifier, or by an equal identifier or
    userIds entry of one type that is not an e-mail, together with equal given and family names. An identifier
    that looks like an e-mail folds nothing." """

    def same(one: Values, other: Values) -> bool:
        if one.master and one.master == other.master:
            return True
        numbers = {("identifier", one.identifier), *one.user_ids} & {
            ("identifier", other.identifier),
            *other.user_ids,
        }
        return one.names == other.names and any(number and "@" not in number for _, number in numbers)

    groups = [{user} for user in users]
    while True:
        for one, other in combinations(groups, 2):
            if any(same(users[a], users[b]) for a in one for b in other):
                one |= other
                groups.remove(other)
                break
        else:
            return [tuple(sorted(group)) for group in groups]


@dataclass
class Matching:
    """One night's merge; `users` are tonight's, by source in the order of strength, and those who stand.

    Who is `standing` has no row that counts tonight, and is not gone either, because nothing proves it or
    their school keeps its last good roster: they are live as they were last ("unknown is not empty").
    """

    sources: list[Source]
    users: dict[str, dict[User, Values]]
    links: Mapping[User, int]
    last: Mapping[User, Values]
    known: Mapping[int, Known]
    standing: Collection[User]
    new_number: Callable[[], int]
    under_new_ids: Mapping[User, int] = field(default_factory=dict)  # docs/holds.md, "New ids"
    now: Decided = field(default_factory=Decided)
    joined: set[int] = field(default_factory=set)
    groups: dict[str, list[Group]] = field(default_factory=dict)

    def run(self) -> Decided:
        groups = {source.name: fold(self.users.get(source.name, {})) for source in self.sources}
        self.groups = groups
        for source in self.sources:
            for group in groups[source.name]:
                self._by_link(source, group)
        told = None
        while told != self.now.outcomes:
            # "The same sync run twice changes nothing": who was not matched is looked for again among all who
            # are there in the end.
            told = dict(self.now.outcomes)
            for source in self.sources:
                self._rest(source, groups[source.name])
            self._join()
        self._let_go()
        for user in self.standing:
            self.now.person.pop(user, None)
            self.now.outcomes.pop(user, None)
        return self.now

    def _let_go(self) -> None:
        """ "An attach-only link never keeps a person alive": whom nothing else names is gone already tonight,
        or "the same sync run twice" would change something (architecture.md, invariant 5)."""
        live = self._people()
        for user, person in list(self.now.person.items()):
            if person not in live and not self._is_unread(person):
                del self.now.person[user]
                self.now.outcomes[user] = "unmatched"

    def _values(self, user: User) -> Values:
        return self.users[user[0]][user]

    def _source(self, name: str) -> Source:
        return next(source for source in self.sources if source.name == name)

    def _people(self) -> dict[int, list[User]]:
        """ "The people live in this sync"; "an attach-only link never keeps a person alive"."""
        out: dict[int, list[User]] = {}
        for user, person in self.now.person.items():
            out.setdefault(person, []).append(user)
        return {
            person: users
            for person, users in out.items()
            if not all(self._source(name).attach_only for name, _ in users)
        }

    def _is_unread(self, person: int) -> bool:
        """Whether the id of somebody was re-used in an extract that "removes nothing"."""
        return any(
            number == person and not self._source(user[0]).complete
            for user, number in self.now.reused.items()
        )

    def _by_link(self, source: Source, group: Group) -> None:
        """ "1. A link from an earlier sync decides: matched; unless given name, family name, identifier and
        e-mail have all changed: a re-used id, not linked, treated as new. A changed e-mail never moves a
        link." """
        linked = {self.links[user] for user in group if user in self.links}
        if len(linked) > 1:
            raise Silent  # rows of two people turn out to be one person
        for person in linked:
            before = [(self.last[user], self._values(user)) for user in group if user in self.links]
            if any(reused(old, new) for old, new in before):
                if len(group) > 1:
                    raise Silent  # one of several rows of one person is somebody else now
                self.now.reused[group[0]] = person
                return
            for user in group:
                self.now.person[user] = person
                self.now.outcomes[user] = "matched"

    def _rest(self, source: Source, groups: list[Group]) -> None:
        keys = {group: {source.key(self._values(user).email) for user in group} - {""} for group in groups}
        shared = {key for key, n in Counter(key for some in keys.values() for key in some).items() if n > 1}
        found: list[tuple[Group, str, int | None]] = []
        for group in groups:
            if self.now.outcomes.get(group[0], "unmatched") != "unmatched":
                continue
            if len(keys[group]) > 1:
                raise Silent  # which of several addresses of one person is the key
            # "An e-mail that several of them share is no key for any of them."
            key = next(iter(keys[group] - shared), "")
            outcome, person = self._by_key(source, group, key)
            if outcome == "created" and (source.attach_only or not source.may_create):
                outcome = "unmatched"
            found.append((group, outcome, person))
        if any(n > 1 for n in Counter(person for _, _, person in found if person is not None).values()):
            raise Silent  # two people of one provider who both fit one person
        for group, outcome, person in found:
            number = self.new_number() if outcome == "created" else person
            for user in group:
                self.now.outcomes[user] = outcome
                if number is not None:
                    self.now.person[user] = number

    def _by_key(self, source: Source, group: Group, key: str) -> tuple[str, int | None]:
        """ "2. Else the merge key among the people live in this sync, by their values of this sync: exactly
        one candidate: matched. Several: unmatched, ambiguous. 4. Else created." """
        if not key:
            return self._created(source, group)
        every_one = [
            (person, users)
            for person, users in self._people().items()
            if any(source.key(self._values(user).email) == key for user in users)
        ]
        # "Otherwise two rows of one provider are two people."
        candidates = [(p, users) for p, users in every_one if all(name != source.name for name, _ in users)]
        if len(candidates) == 1 and len(every_one) > 1:
            raise Silent  # whether somebody counts as a candidate who has a row of this provider already
        if len(candidates) > 1:
            return "unmatched", None
        if not candidates:
            found = self._returning(source, group, key)
            if found[1] is None and self._created(source, group)[1] is not None:
                raise Silent  # somebody under a new id whose e-mail is new, too
            return found
        person = candidates[0][0]
        every = [self._values(user) for user in self.now.person if self.now.person[user] == person]
        mine = [self._values(user) for user in group]
        # "With email_without_domain, a student is never joined to an adult, nor (with check_names) two people
        # whose family names are known and differ: ambiguous."
        if source.without_domain:
            if len({one.student for one in every}) > 1 or len({one.student for one in mine}) > 1:
                raise Silent  # somebody who is both
            if {one.student for one in every} != {one.student for one in mine}:
                return "unmatched", None
        if source.names_matter:
            theirs, ours = ({one.family for one in some} - {""} for some in (every, mine))
            if theirs and ours and not theirs & ours:
                return "unmatched", None
            if theirs and ours and theirs != ours:
                raise Silent  # somebody of several family names
        return "matched", person

    def _created(self, source: Source, group: Group) -> tuple[str, int | None]:
        """ "4. Else created"; but "whoever has no e-mail is recognised by identifier and both names"."""
        found = {self.under_new_ids[user] for user in group if user in self.under_new_ids}
        if len(found) != 1:
            return "created", None
        (person,) = found
        here = any(name == source.name and one == person for (name, _), one in self.now.person.items())
        return ("created", None) if here or person in self.now.merged_into else ("matched", person)

    def _returning(self, source: Source, group: Group, key: str) -> tuple[str, int | None]:
        """ "3. Else the key among removed or inactive people, if given and family names agree: the same
        identity returns." "Somebody gone tonight counts as inactive." """
        live = self._people()
        fitting = [
            number
            for number, one in self.known.items()
            if number not in live
            and key in map(source.key, one.emails)
            and number not in self.now.merged_into
        ]
        if any(map(self._is_unread, fitting)):
            raise Silent  # somebody whose id was re-used, but whom nothing proves to be gone
        names = {self._values(user).names for user in group}
        fitting = [number for number in fitting if names == {self.known[number].names} and all(*names)]
        if len(fitting) > 1 or (fitting and source.attach_only):
            raise Silent  # several who may return, or somebody whom nothing would keep alive
        return ("matched", fitting[0]) if fitting else ("created", None)

    def _join(self) -> None:
        """ "Two live identities of different sources that turn out to share a usable full e-mail and both
        names, and are exactly two, are joined: the older id stays. (Both made on one night: the stronger
        provider's id stays.)" "Otherwise both stay." """
        every = [(user, one) for users in self.users.values() for user, one in users.items()]
        for email in sorted({one.email for _, one in every if one.email and not masked(one.email)}):
            usable = {
                name: sum(any(users[u].email == email for u in group) for group in self.groups[name]) == 1
                for name, users in self.users.items()
            }
            having: dict[int, list[User]] = {}
            for person, users in self._people().items():
                if with_it := [user for user in users if self._values(user).email == email]:
                    having[person] = with_it
            if len(having) < 2:
                continue
            able = [any(usable[name] for name, _ in users) for users in having.values()]
            if len(having) > 2 or not all(usable[name] for users in having.values() for name, _ in users):
                if sum(able) > 1:
                    raise Silent  # whether those count with whom it is not usable
                continue
            one, other = sorted(having)
            if not self._may_join(having[one] + having[other], one, other):
                continue
            if {one, other} & self.joined:
                raise Silent  # the order in which several are joined
            self.joined |= {one, other}
            self.now.merged_into[other] = one
            self.now.person = {u: one if p == other else p for u, p in self.now.person.items()}

    def _may_join(self, users: Iterable[User], one: int, other: int) -> bool:
        names = {self._values(user).names for user in users}
        if len(names) > 1 or not all(*names):
            return False
        sides = [[u for u, person in self.now.person.items() if person == number] for number in (one, other)]
        if {name for name, _ in sides[0]} & {name for name, _ in sides[1]}:
            return False  # of one source they are two
        both = [user for side in sides for user in side]
        if any(self._source(name).directory for name, _ in both):
            raise Silent  # whether somebody who is only in a directory is an identity
        students = {self._values(user).student for user in both}
        if len(students) > 1 and any(self._source(name).without_domain for name, _ in both):
            raise Silent  # whether the full e-mail joins whom the local part never does
        return True


def reused(old: Values, new: Values) -> bool:
    """ "Given name, family name, identifier and e-mail have all changed." """
    parts = [(getattr(old, name), getattr(new, name)) for name in ("given", "family", "identifier", "email")]
    return all(a != b for a, b in parts)

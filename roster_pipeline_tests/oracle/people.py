"""Who is published, with what, and who goes: product.md, "Merging" (values), "Holidays and leaving",
"Schools"."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Hashable
from typing import Any, TypeVar

from roster_pipeline_tests.oracle import new_ids
from roster_pipeline_tests.oracle.matching import Known, Matching, Source, Values
from roster_pipeline_tests.oracle.register import FIELDS, Hold, Person, Place, Roster, waits
from roster_pipeline_tests.oracle.tonight import Here, Row, School, Silent, Tonight, User

Row_ = TypeVar("Row_", bound=Hashable)  # a published row of any kind, by its key


class PeopleTonight:
    """One night's publication; every step changes `now`, a copy of what was published before."""

    def __init__(self, tonight: Tonight, before: Roster, directories: dict[str, list[Row]]) -> None:
        self.tonight, self.before, self.directories = tonight, before, directories
        self.now = copy.deepcopy(before)
        self.held = False
        self.ended: set[User] = set()
        self.reasons: set[str] = set()
        self.unsure: set[int] = set()
        self.ended_graces: set[int] = set()
        self.updated: set[int] = set()
        self.frozen: set[int] = set()
        self.holds: dict[Place, Hold] = {}
        self.let_go: set[Any] = set()

    def closed(self, school: School | None) -> bool:
        """ "Kept back: keeps its last good row, classes, memberships and roles"; "what was published for an
        excluded school stays untouched, unless excluded_rosters: remove"."""
        if school is None or school in self.tonight.kept_back or self.tonight.silent(school):
            return school is not None
        if not self.tonight.excluded(school):
            return False
        having = [here for here in self.tonight.feeds if school in here.excluded]
        return all(here.options.excluded_rosters == "keep" for here in having)

    # ------------------------------------------------------------------ who is who

    def match(self) -> None:
        """All of tonight's people through the merge."""
        sources, users = [], {}
        for name, rows in self.directories.items():
            sources.append(Source(name, directory=True))
            users[name] = {
                (name, row["id"]): Values(
                    row.get("given_name", ""),
                    row.get("family_name", ""),
                    row.get("email", ""),
                    row.get("role") == "student",
                )
                for row in rows
            }
        waiting = False
        for here in self.tonight.feeds:
            merge = here.options.merge
            # "While a stronger provider has never been complete, no weaker one creates anybody."
            sources.append(
                Source(
                    here.name, merge.key == "email_without_domain", merge.attach_to_existing_users_only,
                    merge.checks_names, may_create=not waiting, complete=here.feed.complete,
                )
            )  # fmt: skip
            waiting |= here.name not in self.before.complete and set(here.feed.states.values()) != {"ok"}
            users[here.name] = {
                (here.name, name): self.values(here, name) for name, fate in here.users.items() if not fate
            }
        last = {user: self.last_values(user) for user in self.before.rows}
        known = {
            number: Known(
                (str(person.fields.get("given_name", "")), str(person.fields.get("family_name", ""))),
                frozenset(
                    {str(person.fields.get("email", ""))}
                    | {
                        last[user].email
                        for user, one in self.before.links.items()
                        if one == number and user in last
                    }
                ),
            )
            for number, person in self.before.people.items()
            if person.state not in ("merged", "candidate")
        }
        numbers = iter(range(len(self.before.people), 10**9))
        standing = {user for user in self.before.live if self.stands(user)}
        for user in standing:
            users[user[0]][user] = last[user]
        matching = Matching(
            sources, users, self.before.links, last, known, standing, lambda: next(numbers),
            new_ids.users(self.tonight, self.before),
        )  # fmt: skip
        self.decided = matching.run()
        for here in self.tonight.feeds:
            for adult in {adult for _, adult in here.agents if not here.users[adult]}:
                students = {one for one, other in here.agents if other == adult and not here.users[one]}
                matched = any((here.name, student) in self.decided.person for student in students)
                if here.is_guardian_only(adult) and not matched:
                    raise Silent  # whether the guardian of students who are not matched is current
        for user, number in self.decided.person.items():
            self.now.people.setdefault(number, Person())
            self.now.links[user] = number
        for loser, winner in self.decided.merged_into.items():
            self.merge(loser, winner)

    def values(self, here: Here, name: str) -> Values:
        row = here.rows["users"][name]
        return self._values(row, here.is_student(name))

    def last_values(self, user: User) -> Values:
        return self._values(self.before.rows[user], any(r == "student" for r, _ in self.before.roles[user]))

    def _values(self, row: Row, student: bool) -> Values:
        ids = frozenset((kind, number) for kind, number in row.get("userIds", []))
        return Values(
            row["givenName"], row["familyName"], row["email"], student,
            row.get("identifier", ""), row.get("userMasterIdentifier", ""), ids,
        )  # fmt: skip

    def stands(self, user: User) -> bool:
        """Whether somebody without a row that counts tonight is there all the same: no complete extract
        shows them gone, or one of their schools keeps what was published."""
        here = next((one for one in self.tonight.feeds if one.name == user[0]), None)
        number = self.before.links[user]
        if here is None or here.users.get(user[1]) == "" or self.before.people[number].state != "active":
            return False
        return (
            not here.feed.complete
            or self.stays_excluded(here, user[1])
            or any(map(self.closed, self.before.belongs(number)))
        )

    def stays_excluded(self, here: Here, user: str) -> bool:
        """ "What was published for an excluded school stays untouched"."""
        return here.users.get(user) == "school excluded" and here.options.excluded_rosters == "keep"

    def merge(self, loser: int, winner: int) -> None:
        """ "merged_into points to it, memberships and links follow"."""
        self.now.links = {u: winner if p == loser else p for u, p in self.now.links.items()}
        self.now.memberships = {
            (c, winner if p == loser else p, r): d for (c, p, r), d in self.now.memberships.items()
        }
        self.now.guardian_links = {
            (winner if s == loser else s, winner if g == loser else g) for s, g in self.now.guardian_links
        }
        self.now.people[loser].state = "merged"

    # ------------------------------------------------------------------ people

    def people(self) -> None:
        """Everybody but guardians who are left without a student."""
        self.keep_vanished_values()
        for number in self.decided.reused.values():
            if any(map(self.closed, self.before.belongs(number))):
                raise Silent  # an id that is re-used in a school that keeps its last good roster
        self.now.live = set(self.decided.person)
        present = self.users_by_person()
        self.leaving: dict[int, str] = {}
        for number, person in self.now.people.items():
            if person.state == "merged":
                continue
            users = present.get(number, [])
            schools, out = self.schools_tonight(number, users), self.taken_out()
            if schools & out and schools - out and all(map(self.closed, schools - out)):
                raise Silent  # whether somebody of excluded schools that go and of others that stay is frozen
            closed = self.schools_tonight(number, users) and all(
                map(self.closed, self.schools_tonight(number, users))
            )
            if closed:  # "frozen if all are kept back"
                self.frozen.add(number)
                self.now.live |= {u for u in self.before.live if self.now.links[u] == number}
                self.attach_later(number, self.schools_tonight(number, users))
                continue
            if self.alive(users):
                self.update(number, users)
            elif person.state == "active" and not self.is_unread(number):
                self.leaving[number] = self.why_gone(number)
            elif person.state == "inactive":
                self.end_of_grace(number, person, self.why_gone(number))
        self.hold_people()
        for number, why in self.leaving.items():
            self.take_out(number, why)

    def attach_later(self, number: int, schools: set[School]) -> None:
        """ "The next sync does not undo the undo" (issue 4): "a person or link is frozen if all [schools] are
        kept back", so that who has a login only now gets it when a school that was set back follows again."""
        if any(self.tonight.kept_back.get(school) != {"undone"} for school in schools):
            return
        for user in [user for user, person in self.decided.person.items() if person == number]:
            if user[0] in self.directories and user not in self.before.live:
                self.now.live.discard(user)
                if user not in self.before.links:
                    del self.now.links[user]

    def is_unread(self, number: int) -> bool:
        """Whether the id of somebody was re-used in an extract that "removes nothing"."""
        names = {name for (name, _), person in self.decided.reused.items() if person == number}
        return any(not self.tonight.here(name).feed.complete for name in names)

    def users_by_person(self) -> dict[int, list[User]]:
        """Tonight's users of each person, and those of whom an incomplete extract says nothing: they stay."""
        out: dict[int, list[User]] = {}
        for user, number in self.decided.person.items():
            out.setdefault(number, []).append(user)
        for user in self.before.live - set(self.decided.person):
            here = next((one for one in self.tonight.feeds if one.name == user[0]), None)
            person = self.now.people[self.now.links[user]]
            if (
                here
                and (not here.feed.complete or self.stays_excluded(here, user[1]))
                and user not in self.decided.reused
                and person.state == "active"
            ):
                out.setdefault(self.now.links[user], []).append(user)
                self.now.live.add(user)
        return out

    def alive(self, users: list[User]) -> bool:
        """ "An attach-only link never keeps a person alive"; "people who are only in a directory are not
        published", but they are "existing users" to whom an attach-only provider may attach."""
        attach_only = {h.name: h.options.merge.attach_to_existing_users_only for h in self.tonight.feeds}
        providers = {name for name, _ in users} & set(attach_only)
        in_directory = any(name in self.directories for name, _ in users)
        return any(not attach_only[name] or in_directory for name in providers)

    def schools_tonight(self, number: int, users: list[User]) -> set[School]:
        before = self.before.belongs(number) if number in self.before.people else set()
        for name, user in users:
            here = next((one for one in self.tonight.feeds if one.name == name), None)
            last = {school for _, school in self.before.roles.get((name, user), set()) if school}
            before = before | (here.schools_of.get(user, last) if here else set())
        return before

    def row(self, user: User) -> Row:
        if user[0] in self.directories:
            found = next(row for row in self.directories[user[0]] if row["id"] == user[1])
            return {
                "givenName": found.get("given_name", ""),
                "familyName": found.get("family_name", ""),
                "email": found["email"],
            }
        here = self.tonight.here(user[0])
        return self.before.rows[user] if here.users.get(user[1], "gone") else here.rows["users"][user[1]]

    def roles_of(self, user: User) -> set[tuple[str, School | None]]:
        if user[0] in self.directories:
            return set()
        here = self.tonight.here(user[0])
        if here.users.get(user[1], "gone"):
            return self.before.roles[user]
        roles = {(role, here.school_of.get(org)) for role, org in here.roles[user[1]]}
        return {(role, school) for role, school in roles if school not in here.excluded}

    def update(self, number: int, users: list[User]) -> None:
        """ "The strongest non-empty value of a field wins; roles are the union. A directory gives the login
        e-mail, and other fields only where no provider has one." """
        person = self.now.people[number]
        strength = [here.name for here in self.tonight.feeds]
        for name, column in FIELDS.items():
            order = [*self.directories, *strength] if name == "email" else [*strength, *self.directories]
            person.fields[name] = "" if name != "grades" else []
            for source in order:
                mine = [self.row(user).get(column) for user in users if user[0] == source]
                values: list[Any] = [value for value in mine if value]
                if any(value != values[0] for value in values) and name != "username":
                    raise Silent  # two rows of one person of one provider that differ
                if values:
                    person.fields[name] = min(values)
                    break
        roles = {role for user in users for role in self.roles_of(user)}
        known = self.before.people.get(number)  # of somebody removed, no school keeps a role
        before = known.roles if known and known.state in ("active", "inactive") else set()
        kept = {(role, school) for role, school in before if self.closed(school)}
        # "What an option takes out of scope is removed at the next complete sync": till then roles_of has it.
        person.roles = {(role, school) for role, school in roles if not self.closed(school)} | kept
        person.state, person.since = "active", None
        self.updated.add(number)

    def roles_of_classes(self) -> None:
        """ "A person [belongs] to the schools of their orgs and enrolments": a class gives a role at its
        school to whom the row gives none there."""
        found: dict[int, set[tuple[str, School]]] = {}
        for class_, number, role in self.now.memberships:
            school = self.now.classes[class_].school
            if (
                self.now.people[number].state == "active"
                and number in self.updated
                and not self.closed(school)
            ):
                found.setdefault(number, set()).add((role, school))
        for number, roles in found.items():
            person = self.now.people[number]
            here = {school for _, school in person.roles}
            person.roles |= {(role, school) for role, school in roles if school not in here}

    def keep_vanished_values(self) -> None:
        """ "A value that turns empty clears the published one, unless all (two or more) of that provider's
        values of the field, or more than five and at least 5 % of them, turned empty tonight
        (RS-SAFE-06)." """
        for here in self.tonight.feeds:
            mine = [
                u
                for u in self.decided.person
                if u[0] == here.name and u in self.before.live and u not in self.decided.reused
            ]
            for column in FIELDS.values():
                had = [user for user in mine if self.before.rows[user].get(column)]
                empty = [user for user in had if not here.rows["users"][user[1]].get(column)]
                # Of whom nothing was known before, a value has not turned empty, but it is one of them: or
                # "the same sync run twice" would change something (architecture.md, invariant 5).
                more = [
                    user
                    for user in self.decided.person
                    if user[0] == here.name and user not in had and here.rows["users"][user[1]].get(column)
                ]
                unmatched = sum(
                    not fate and (here.name, name) not in self.decided.person
                    for name, fate in here.users.items()
                    if here.rows["users"][name].get(column)
                )
                heard = [user for user in empty if not self.is_kept(here, user)]
                spoken = [user for user in had + more if not self.is_kept(here, user)]
                readings = {
                    (n > 1 and n == of) or (n > 5 and n * 20 >= of)
                    for n, of in (
                        (len(empty), len(had) + len(more)),
                        (len(empty), len(had) + len(more) + unmatched),
                        (len(heard), len(spoken)),
                    )
                }
                if vanishing := [
                    u for u in heard if self.before.people[self.before.links[u]].state != "active"
                ]:
                    if True in readings:
                        raise Silent  # whether the value of somebody who returns turned empty
                    heard = [user for user in heard if user not in vanishing]
                if heard and len(readings) > 1:
                    raise Silent  # whether values in schools that are kept back, or of the unmatched, count
                if heard and True in readings:
                    for user in empty:
                        row = here.rows["users"][user[1]]
                        here.rows["users"][user[1]] = {**row, column: self.before.rows[user][column]}

    def is_kept(self, here: Here, user: User) -> bool:
        """Whether somebody's schools all keep what was published."""
        return all(map(self.closed, here.schools_of[user[1]])) and bool(here.schools_of[user[1]])

    def why_gone(self, number: int) -> str:
        """ "People gone from a complete extract turn inactive; those who have left by their dates are removed
        at once"; "what an option takes out of scope is removed at the next complete sync"."""
        reasons = set()
        for name, user in [u for u in self.before.live if self.before.links[u] == number]:
            here = next((one for one in self.tonight.feeds if one.name == name), None)
            if here is None or here.options.merge.attach_to_existing_users_only:
                continue
            fate = here.users.get(user, "gone")
            reasons.add("gone" if (name, user) in self.decided.reused or not fate else fate)
        if "school kept back" in reasons:
            return "school kept back"
        if len(reasons) != 1:
            if len(reasons & {"gone", "guardian of nobody"}) and len(reasons) > 1:
                raise Silent  # gone from one provider, left at another
            return sorted(reasons)[0] if reasons else "gone"
        return reasons.pop()

    def hold_people(self) -> None:
        """ "Otherwise removals wait per school and kind of row." """
        gone = [
            number
            for number, why in self.leaving.items()
            if why == "gone" and not any(map(self.closed, self.before.belongs(number)))
        ]
        total = [number for number, person in self.before.people.items() if person.state == "active"]
        asleep = [number for number, person in self.before.people.items() if person.state == "inactive"]
        settled = [number for number, why in self.leaving.items() if why != "gone"]
        self.held_people = self.hold(self.waiting("people", gone, total, asleep, self.groups_of, settled))
        self.approved_people = self.let_go & set(gone) - self.held_people
        for number in self.held_people:
            del self.leaving[number]
            self.now.live |= {u for u in self.before.live if self.before.links[u] == number}
            self.reasons.add("removal waits: people")

    def hold(self, found: dict[Place, tuple[set[Row_], int]]) -> set[Row_]:
        """The rows that wait of those that would have to: "an approval lets exactly these rows go, once"."""
        out: set[Row_] = set()
        for place, (rows, total) in found.items():
            known = self.before.holds.get(place)
            if known and known.lets_go(rows, self.tonight.as_of):
                self.let_go |= rows
                continue
            same = known and known.rows == frozenset(rows)
            self.holds[place] = known if known and same else Hold(frozenset(rows), total)
            out |= rows
        return out

    def waiting(
        self,
        kind: str,
        gone: Collection[Row_],
        total: Collection[Row_],
        extra: Collection[Row_],
        schools: Callable[[Row_], Collection[School | None]],
        settled: Collection[Row_] = (),
    ) -> dict[Place, tuple[set[Row_], int]]:
        """Which of `gone` wait, school by school, and of how many; `extra` are rows of which the page does
        not say whether they are among the school's `total`; `settled` go for reasons that "are not counted".
        "What waits goes on waiting, whatever is added meanwhile: it is counted among the rows that were there
        when it began to" (docs/holds.md)."""
        out: dict[Place, tuple[set[Row_], int]] = {}
        limits = self.tonight.tenant.safeguards
        for school in {school for one in gone for school in schools(one)}:
            n, every, more = (sum(school in schools(one) for one in some) for some in (gone, total, extra))
            at: Place = (kind, school, None)
            at_first = self.before.holds[at].total if at in self.before.holds else every
            if waits(n, min(every, at_first), limits) != waits(n, min(every, at_first) + more, limits):
                raise Silent  # whether inactive people count among the school's
            every = min(every, at_first)
            if school in self.taken_out() | self.before.again:
                # "What an option takes out of scope is removed without a hold." "The first complete sync
                # after a school is included again replaces its roster without a hold."
                continue
            left = every - sum(school in schools(one) for one in settled)
            if n >= left and not waits(n, every, limits):
                raise Silent  # whether "all of a school's rows" are those that what is not counted leaves
            if waits(n, every, limits):
                out[at] = {one for one in gone if school in schools(one)}, every
        return out

    def taken_out(self) -> set[School]:
        """Schools that all their providers exclude, one of them with `excluded_rosters: remove`."""
        orgs = {school for here in self.tonight.feeds for school in here.excluded}
        return {school for school in orgs if self.tonight.excluded(school) and not self.closed(school)}

    def groups_of(self, number: int) -> set[School | None]:
        """ "People of no school (district staff) are a group of their own." """
        return {*self.before.belongs(number)} or {None}

    def take_out(self, number: int, why: str) -> None:
        person = self.now.people[number]
        if why == "guardian of nobody":
            return  # see `guardians`
        # "never removed while one [of its schools] is kept back"
        if any(map(self.closed, self.before.belongs(number))):
            self.unsure.add(number)
            self.now.live |= {u for u in self.before.live if self.before.links[u] == number}
            return
        if why == "gone" or (why == "left" and self.is_awaited(number)):
            person.state, person.since = "inactive", self.tonight.as_of
            self.now.live |= {
                u for u in self.before.live if self.before.links[u] == number and u not in self.decided.reused
            }
        else:
            person.state, person.since = "removed", None

    def is_awaited(self, number: int) -> bool:
        """ "A person [belongs] to the schools of their orgs", and is "never removed while one is kept back":
        whether somebody who "returns" by "the key among removed or inactive people, if given and family names
        agree", has a row at a school that is kept back, so that nobody is they yet. "Somebody who moves
        between two schools of a tenant is never removed in between" (issue 4)."""
        person = self.now.people[number]
        names = person.fields.get("given_name"), person.fields.get("family_name")
        emails = {str(person.fields.get("email", ""))} | {
            row["email"] for user, row in self.before.rows.items() if self.now.links.get(user) == number
        }
        for here in self.tonight.feeds if all(names) else ():
            key = Source(here.name, here.options.merge.key == "email_without_domain").key
            for name, fate in here.users.items():
                row = here.rows["users"][name]
                waits = fate == "school kept back" and (row["givenName"], row["familyName"]) == names
                if waits and key(row["email"]) and key(row["email"]) in map(key, emails):
                    return True
        return False

    def end_of_grace(self, number: int, person: Person, why: str) -> None:
        """ "Removed after grace_days"; "exactly the limit is still within"; "removing people needs users and
        enrollments ok" (architecture.md, invariant 1), of all providers that ever knew them: whether they are
        back at one that is not read is "unknown", which "is not empty"; "never removed while one [of their
        schools] is kept back". Whom options take out, or who has left, goes now."""
        assert person.since
        if why == "school kept back":
            return
        settled = why not in ("gone", "guardian of nobody")
        if self.is_awaited(number) and (why == "left" or not settled):
            return
        if (self.tonight.as_of - person.since).days <= self.tonight.tenant.grace_days and not settled:
            return
        mine = {user for user, one in self.now.links.items() if one == number}
        unread = any(
            not here.feed.complete
            for here in self.tonight.feeds
            if here.name in {name for name, _ in mine}
            and not here.options.merge.attach_to_existing_users_only  # those keep nobody alive
        )
        if any(map(self.closed, self.before.belongs(number))) or unread:
            return
        students = {self.now.people[s].state for s, guardian in self.now.guardian_links if guardian == number}
        fates = {
            here.users.get(user) for here in self.tonight.feeds for name, user in mine if name == here.name
        }
        if "active" in students and "guardian of nobody" in fates:
            raise Silent  # whether a guardian goes whose student is there, but not at that provider
        person.state, person.since = "removed", None
        self.ended_graces.add(number)

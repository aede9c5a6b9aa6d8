"""What is published, what waits, and what a sync tells: product.md after "Merging"."""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from roster_pipeline.tenants.document import Safeguards, Tenant
from roster_pipeline_tests.oracle import tonight as rules
from roster_pipeline_tests.oracle.matching import Decided, Known, Matching, Source, Values, fold
from roster_pipeline_tests.oracle.tonight import Feed, Here, Row, School, Silent, Tonight, User

FIELDS: Final = {
    "given_name": "givenName", "family_name": "familyName", "email": "email", "identifier": "identifier",
    "phone": "phone", "username": "username", "grades": "grades",
}  # fmt: skip
Membership = tuple[User, int, str]  # class, person, role


@dataclass
class Person:
    """Somebody; `state` is candidate (only in a directory), active, inactive, removed or merged."""

    state: str = "candidate"
    since: dt.date | None = None
    fields: dict[str, object] = field(default_factory=dict)
    roles: set[tuple[str, School | None]] = field(default_factory=set)


@dataclass
class Class:
    """A published class."""

    school: School
    start: dt.date | None
    end: dt.date | None


@dataclass
class Roster:
    """What is published, and what the next night has to know."""

    people: dict[int, Person] = field(default_factory=dict)
    links: dict[User, int] = field(default_factory=dict)  # removed ones too
    live: set[User] = field(default_factory=set)
    rows: dict[User, Row] = field(default_factory=dict)  # as last used
    roles: dict[User, set[tuple[str, School | None]]] = field(default_factory=dict)
    schools: dict[School, dt.date] = field(default_factory=dict)  # the day of the last good roster
    school_of: dict[User, School] = field(default_factory=dict)
    classes: dict[User, Class] = field(default_factory=dict)
    memberships: dict[Membership, tuple[str, str]] = field(default_factory=dict)
    guardian_links: set[tuple[int, int]] = field(default_factory=set)
    enrolled: set[User] = field(default_factory=set)
    complete: set[str] = field(default_factory=set)

    def belongs(self, number: int) -> set[School]:
        """ "A person [belongs] to the schools of their orgs and enrolments."""
        roles = {school for _, school in self.people[number].roles if school}
        return roles | {self.classes[c].school for c, person, _ in self.memberships if person == number}

    def grades(self) -> dict[School, dict[str, int]]:
        """Active students by school and grade."""
        out: dict[School, dict[str, int]] = {}
        for number, person in self.people.items():
            if person.state != "active" or not any(role == "student" for role, _ in person.roles):
                continue
            for school in self.belongs(number):
                for grade in person.fields.get("grades") or []:  # type: ignore[attr-defined]
                    of_school = out.setdefault(school, {})
                    of_school[grade] = of_school.get(grade, 0) + 1
        return out


@dataclass
class Told:
    """One night of the oracle."""

    status: str
    roster: Roster
    tonight: Tonight
    decided: Decided
    outcomes: dict[User, str]
    unsure: set[int] = field(default_factory=set)  # whether active or inactive, the page does not say
    reasons: set[str] = field(default_factory=set)
    directories: set[str] = field(default_factory=set)


def night(tenant: Tenant, feeds: list[Feed], directories: dict[str, list[Row]], before: Roster, as_of: dt.date) -> Told:
    """One night: `feeds` with the strongest first, directories in document order."""
    tonight = Tonight(tenant, as_of, [rules.read(feed) for feed in feeds])
    rules.join_schools(tonight, before.school_of)
    rules.judge_classes(tonight, {name: class_.school for name, class_ in before.classes.items()})
    rules.judge_users(tonight, before.enrolled)
    had_rows = {school for number in before.people for school in before.belongs(number)}
    had_rows |= {class_.school for class_ in before.classes.values()}
    rules.judge_schools(tonight, had_rows, before.grades())
    drop_rows_of_kept_schools(tonight, before)
    return Publishing(tonight, before, directories).run()


def drop_rows_of_kept_schools(tonight: Tonight, before: Roster) -> None:
    """ "A school with no last good roster is not published; rows of it alone are dropped (school_kept_back), with
    no outcome and no id." """
    for here in tonight.feeds:
        for name, schools in here.schools_of.items():
            closed = all(school in tonight.kept_back or school in here.excluded for school in schools)
            if not here.users[name] and schools and closed and (here.name, name) not in before.live:
                here.users[name] = "school kept back"


class Publishing:
    """One night's publication; every step changes `now`, a copy of what was published before."""

    def __init__(self, tonight: Tonight, before: Roster, directories: dict[str, list[Row]]) -> None:
        self.tonight, self.before, self.directories = tonight, before, directories
        self.now = copy.deepcopy(before)
        self.held = False
        self.ended: set[User] = set()
        self.reasons: set[str] = set()
        self.unsure: set[int] = set()
        self.updated: set[int] = set()

    def run(self) -> Told:
        status = self.failed()
        if status:
            self.now.complete |= {h.name for h in self.tonight.feeds if set(h.feed.states.values()) == {"ok"}}
            return Told(status, self.now, self.tonight, Decided(), {}, reasons=self.reasons)
        self.match()
        self.people()
        self.classes()
        self.members()
        self.roles_of_classes()
        self.guardians()
        self.remember()
        outcomes = dict(self.decided.outcomes)
        return Told(
            self.status(), self.now, self.tonight, self.decided, outcomes, self.unsure, self.reasons,
            set(self.directories),
        )  # fmt: skip

    # -------------------------------------------------------------------------------------- status

    def failed(self) -> str:
        """ "failed: nothing new could be published: no provider was readable, or every school was kept back." """
        schools = [s for s in self.tonight.orgs if not self.tonight.excluded(s) and s not in self.tonight.empty]
        schools += [s for s in self.tonight.kept_back if s not in schools]
        if all("failed" in here.feed.states.values() for here in self.tonight.feeds):
            return "failed"
        return "failed" if schools and all(school in self.tonight.kept_back for school in schools) else ""

    def status(self) -> str:
        """ "partial: published, but a collection was not ok, a school was kept back, or a removal is held.
        successful: all else." """
        for here in self.tonight.feeds:
            if set(here.feed.states.values()) != {"ok"}:
                self.reasons.add("collection")
        if self.tonight.kept_back:
            self.reasons.add("kept back")
        if self.reasons and all(one.state not in ("active", "inactive") for one in self.now.people.values()):
            raise Silent  # whether a sync with trouble that publishes nobody is partial
        return "partial" if self.reasons else "successful"

    def closed(self, school: School | None) -> bool:
        """ "Kept back: keeps its last good row, classes, memberships and roles"; "what was published for an
        excluded school stays untouched, unless excluded_rosters: remove"."""
        if school is None or school in self.tonight.kept_back:
            return school is not None
        if not self.tonight.excluded(school):
            return False
        having = [here for here in self.tonight.feeds if school in here.excluded]
        return all(here.options.excluded_rosters == "keep" for here in having)

    # -------------------------------------------------------------------------------------- who is who

    def match(self) -> None:
        """All of tonight's people through the merge."""
        sources, users = [], {}
        for name, rows in self.directories.items():
            sources.append(Source(name, directory=True))
            users[name] = {
                (name, row["id"]): Values(
                    row.get("given_name", ""), row.get("family_name", ""), row.get("email", ""), row.get("role") == "student"
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
                    merge.checks_names, may_create=not waiting,
                )
            )  # fmt: skip
            waiting |= here.name not in self.before.complete and set(here.feed.states.values()) != {"ok"}
            users[here.name] = {
                (here.name, name): self.values(here, name) for name, fate in here.users.items() if not fate
            }
        known = {
            number: Known(
                (str(person.fields.get("given_name", "")), str(person.fields.get("family_name", ""))),
                str(person.fields.get("email", "")),
                person.state in ("inactive", "removed") or self.gone(number),
            )
            for number, person in self.before.people.items()
            if person.state not in ("merged", "candidate")
        }
        numbers = iter(range(len(self.before.people), 10**9))
        last = {user: self.last_values(user) for user in self.before.rows}
        matching = Matching(sources, users, self.before.links, last, known, lambda: next(numbers))
        self.decided = matching.run()
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

    def gone(self, number: int) -> bool:
        """Whether none of a person's users is there tonight, and complete extracts say so."""
        users = [user for user, person in self.before.links.items() if person == number and user in self.before.live]
        for name, user in users:
            here = next((one for one in self.tonight.feeds if one.name == name), None)
            if here and (not here.feed.complete or not here.users.get(user, "gone")):
                return False
        return not any(self.closed(school) for school in self.before.belongs(number))

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

    # -------------------------------------------------------------------------------------- people

    def people(self) -> None:
        """Everybody but guardians who are left without a student."""
        self.keep_vanished_values()
        self.now.live = {u for u in self.decided.person}
        present = self.users_by_person()
        self.leaving: dict[int, str] = {}
        for number, person in self.now.people.items():
            if person.state == "merged":
                continue
            users = present.get(number, [])
            closed = self.schools_tonight(number, users) and all(
                map(self.closed, self.schools_tonight(number, users))
            )
            if closed:  # "frozen if all are kept back"
                self.now.live |= {u for u in self.before.live if self.now.links[u] == number}
                continue
            if self.alive(users):
                self.update(number, users)
            elif person.state == "active":
                self.leaving[number] = self.why_gone(number)
            elif person.state == "inactive":
                self.end_of_grace(number, person)
        self.hold_people()
        for number, why in self.leaving.items():
            self.take_out(number, why)

    def users_by_person(self) -> dict[int, list[User]]:
        """Tonight's users of each person, and those of whom an incomplete extract says nothing: they stay."""
        out: dict[int, list[User]] = {}
        for user, number in self.decided.person.items():
            out.setdefault(number, []).append(user)
        for user in self.before.live - set(self.decided.person):
            here = next((one for one in self.tonight.feeds if one.name == user[0]), None)
            if here and not here.feed.complete and user not in self.decided.reused:
                out.setdefault(self.now.links[user], []).append(user)
                self.now.live.add(user)
        return out

    def alive(self, users: list[User]) -> bool:
        """ "An attach-only link never keeps a person alive"; "people who are only in a directory are not
        published", but they are "existing users" to whom an attach-only provider may attach. """
        attach_only = {h.name: h.options.merge.attach_to_existing_users_only for h in self.tonight.feeds}
        providers = {name for name, _ in users} & set(attach_only)
        in_directory = any(name in self.directories for name, _ in users)
        return any(not attach_only[name] or in_directory for name in providers)

    def schools_tonight(self, number: int, users: list[User]) -> set[School]:
        before = self.before.belongs(number) if number in self.before.people else set()
        for name, user in users:
            here = next((one for one in self.tonight.feeds if one.name == name), None)
            before = before | (here.schools_of.get(user, set()) if here else set())
        return before

    def row(self, user: User) -> Row:
        if user[0] in self.directories:
            found = next(row for row in self.directories[user[0]] if row["id"] == user[1])
            return {"givenName": found.get("given_name", ""), "familyName": found.get("family_name", ""), "email": found["email"]}
        here = self.tonight.here(user[0])
        return here.rows["users"].get(user[1]) if not here.users.get(user[1], "gone") else self.before.rows[user]  # type: ignore[return-value]

    def roles_of(self, user: User) -> set[tuple[str, School | None]]:
        if user[0] in self.directories:
            return set()
        here = self.tonight.here(user[0])
        if here.users.get(user[1], "gone"):
            return self.before.roles[user]
        return {(role, here.school_of.get(org)) for role, org in here.roles[user[1]]}

    def update(self, number: int, users: list[User]) -> None:
        """ "The strongest non-empty value of a field wins; roles are the union. A directory gives the login
        e-mail, and other fields only where no provider has one." """
        person = self.now.people[number]
        strength = [here.name for here in self.tonight.feeds]
        for name, column in FIELDS.items():
            order = [*self.directories, *strength] if name == "email" else [*strength, *self.directories]
            person.fields[name] = "" if name != "grades" else []
            for source in order:
                values = [self.row(user).get(column) for user in users if user[0] == source]
                values = [value for value in values if value]
                if any(value != values[0] for value in values) and name != "username":
                    raise Silent  # two rows of one person of one provider that differ
                if values:
                    person.fields[name] = min(values)
                    break
        roles = {role for user in users for role in self.roles_of(user)}
        before = self.before.people[number].roles if number in self.before.people else set()
        kept = {(role, school) for role, school in before if self.closed(school)}
        person.roles = {(role, s) for role, s in roles if not (s and (self.closed(s) or self.tonight.excluded(s)))} | kept
        person.state, person.since = "active", None
        self.updated.add(number)

    def roles_of_classes(self) -> None:
        """ "A person [belongs] to the schools of their orgs and enrolments": a class gives a role at its school to
        whom the row gives none there."""
        found: dict[int, set[tuple[str, School]]] = {}
        for class_, number, role in self.now.memberships:
            school = self.now.classes[class_].school
            if self.now.people[number].state == "active" and number in self.updated and not self.closed(school):
                found.setdefault(number, set()).add((role, school))
        for number, roles in found.items():
            person = self.now.people[number]
            here = {school for _, school in person.roles}
            person.roles |= {(role, school) for role, school in roles if school not in here}

    def keep_vanished_values(self) -> None:
        """ "A value that turns empty clears the published one, unless all (two or more) of that provider's values
        of the field, or more than five and at least 5 % of them, turned empty tonight (RS-SAFE-06)." """
        for here in self.tonight.feeds:
            mine = [u for u in self.decided.person if u[0] == here.name and u in self.before.live and u not in self.decided.reused]
            for name, column in FIELDS.items():
                had = [user for user in mine if self.before.rows[user].get(column)]
                empty = [user for user in had if not here.rows["users"][user[1]].get(column)]
                if (len(had) > 1 and len(empty) == len(had)) or (len(empty) > 5 and len(empty) * 20 >= len(had)):
                    for user in empty:
                        row = here.rows["users"][user[1]]
                        here.rows["users"][user[1]] = {**row, column: self.before.rows[user][column]}

    def why_gone(self, number: int) -> str:
        """ "People gone from a complete extract turn inactive; those who have left by their dates are removed at
        once"; "what an option takes out of scope is removed at the next complete sync". """
        reasons = set()
        for name, user in {u for u in self.before.live if self.before.links[u] == number}:
            here = next((one for one in self.tonight.feeds if one.name == name), None)
            if here is None or here.options.merge.attach_to_existing_users_only:
                continue
            fate = here.users.get(user, "gone")
            reasons.add("gone" if (name, user) in self.decided.reused or not fate else fate)
        if len(reasons) != 1:
            if len(reasons & {"gone", "guardian of nobody"}) and len(reasons) > 1:
                raise Silent  # gone from one provider, left at another
            return sorted(reasons)[0] if reasons else "gone"
        return reasons.pop()

    def hold_people(self) -> None:
        """ "Otherwise removals wait per school and kind of row." """
        gone = [number for number, why in self.leaving.items() if why == "gone"]
        total = [number for number, person in self.before.people.items() if person.state == "active"]
        asleep = [number for number, person in self.before.people.items() if person.state == "inactive"]
        for number in self.waiting(gone, total, asleep, lambda one: self.before.belongs(one) or {None}):
            del self.leaving[number]
            self.now.live |= {u for u in self.before.live if self.before.links[u] == number}
            self.reasons.add("removal waits: people")

    def waiting(self, gone, total, extra, groups):  # type: ignore[no-untyped-def]
        """Which of `gone` wait, in groups by school."""
        out = set()
        for school in {group for one in gone for group in groups(one)}:
            n = sum(school in groups(one) for one in gone)
            every = sum(school in groups(one) for one in total)
            more = sum(school in groups(one) for one in extra)
            if waits(n, every, self.tonight.tenant.safeguards) != waits(n, every + more, self.tonight.tenant.safeguards):
                raise Silent  # whether inactive people count among the school's
            if waits(n, every, self.tonight.tenant.safeguards):
                out |= {one for one in gone if school in groups(one)}
        return out

    def take_out(self, number: int, why: str) -> None:
        person = self.now.people[number]
        if why == "guardian of nobody":
            return  # see `guardians`
        # "never removed while one [of its schools] is kept back"
        if any(map(self.closed, self.before.belongs(number))):
            self.unsure.add(number)
            self.now.live |= {u for u in self.before.live if self.before.links[u] == number}
            return
        if why == "gone":
            person.state, person.since = "inactive", self.tonight.as_of
            self.now.live |= {
                u for u in self.before.live if self.before.links[u] == number and u not in self.decided.reused
            }
        else:
            person.state, person.since = "removed", None

    def end_of_grace(self, number: int, person: Person) -> None:
        """ "Removed after grace_days"; "exactly the limit is still within". """
        if any(not here.feed.complete for here in self.tonight.feeds):
            raise Silent  # whether grace ends on a night on which a provider was not read whole
        assert person.since
        if (self.tonight.as_of - person.since).days > self.tonight.tenant.grace_days:
            person.state, person.since = "removed", None

    # -------------------------------------------------------------------------------------- classes

    def classes(self) -> None:
        """ "A class ends, without a hold, once its last session's end date, as published before, has passed. A
        session that vanished or was shortened is not an end: its class stays as published and the sync is
        `partial`." """
        gone: list[User] = []
        self.waiting_classes: set[User] = set()
        for class_, old in self.before.classes.items():
            here = next((one for one in self.tonight.feeds if one.name == class_[0]), None)
            if self.closed(old.school):
                continue
            fate = here.classes.get(class_[1], "gone") if here else "retired"
            if fate == "":
                continue
            if here and "ok" != here.feed.states["classes"]:
                self.waiting_classes.add(class_)
                continue
            exclusive = bool(here and here.options.end_dates == "exclusive")
            if fate in ("not current", "gone") and old.end and not rules.within((None, old.end), self.tonight.as_of, exclusive):
                self.ended.add(class_)
            elif fate == "not current":
                self.waiting_classes.add(class_)
                self.reasons.add("session vanished")
            elif fate in ("gone", "refers to nothing"):
                gone.append(class_)
                continue
            if class_ not in self.waiting_classes:
                del self.now.classes[class_]
        for class_ in gone:
            if class_ in self.waiting(gone, list(self.before.classes), [], lambda one: {self.before.classes[one].school}):
                self.waiting_classes.add(class_)
                self.reasons.add("removal waits: classes")
            else:
                del self.now.classes[class_]
        for here in self.tonight.feeds:
            for name, fate in here.classes.items():
                if fate == "":
                    spans = here.class_spans[name]
                    starts, ends = [b for b, _ in spans], [e for _, e in spans]
                    self.now.classes[here.name, name] = Class(
                        here.school_of[here.rows["classes"][name]["school"]],
                        min(b for b in starts if b) if starts and all(starts) else None,
                        max(e for e in ends if e) if ends and all(ends) else None,
                    )

    # -------------------------------------------------------------------------------------- memberships

    def members(self) -> None:
        """Memberships of the classes published tonight; others stay, end with their class, or wait."""
        new: dict[Membership, set[tuple[str, str]]] = {}
        past: set[Membership] = set()
        for here in self.tonight.feeds:
            for key, row in here.rows["enrollments"].items():
                user = (here.name, row["user"])
                number = self.decided.person.get(user, self.now.links.get(user))
                membership = ((here.name, row["class"]), number, rules.role_name(row["role"]))
                if number is None:
                    continue
                if here.enrolments[key] == "" and user in self.decided.person and self.now.people[number].state == "active":
                    spoken = (row.get("beginDate", ""), row.get("endDate", ""))
                    new.setdefault(membership, set()).add(  # type: ignore[arg-type]
                        spoken if any(rules.dates(*spoken)) else ("", "")
                    )
                elif here.enrolments[key] not in ("refers to nothing", ""):
                    past.add(membership)  # type: ignore[arg-type]
        counted: list[Membership] = []
        for membership in list(self.now.memberships):
            class_, number, _ = membership
            if class_ not in self.now.classes or self.now.people[number].state in ("removed", "merged"):
                del self.now.memberships[membership]
            elif self.stays(membership):
                pass
            elif membership in new or membership in past:
                del self.now.memberships[membership]
            else:
                counted.append(membership)
        self.hold_memberships(counted)
        for membership, spans in new.items():
            if membership[0] in self.now.classes and not self.closed(self.now.classes[membership[0]].school):
                self.now.memberships[membership] = min(spans) if len(spans) == 1 else ("?", "?")

    def stays(self, membership: Membership) -> bool:
        class_, number, _ = membership
        if class_ in self.waiting_classes or self.closed(self.now.classes[class_].school):
            return True
        here = self.tonight.here(class_[0])
        return not here.feed.complete

    def hold_memberships(self, counted: list[Membership]) -> None:
        """ "... per school and kind of row ...; in a class, when they are at least half of its members and at
        least 5". """
        limits = self.tonight.tenant.safeguards
        total = [one for one in self.before.memberships]
        held = self.waiting(
            counted, total, [], lambda one: {self.before.classes[one[0]].school} if one[0] in self.before.classes else set()
        )
        for class_ in {one[0] for one in counted}:
            mine = [one for one in counted if one[0] == class_]
            members = [one for one in self.before.memberships if one[0] == class_]
            if len(mine) >= limits.class_share * len(members) and len(mine) >= limits.class_rows:
                held |= set(mine)
        for one in counted:
            if one in held:
                self.reasons.add("removal waits: memberships")
            else:
                del self.now.memberships[one]
        for class_ in set(self.before.classes) - set(self.now.classes) - self.ended:
            here = self.tonight.here(class_[0])
            lost = sum(one[0] == class_ for one in self.before.memberships)
            if here.classes.get(class_[1], "gone") == "gone" and lost >= limits.class_rows:
                raise Silent  # a class goes, but its members would wait

    # -------------------------------------------------------------------------------------- guardians

    def guardians(self) -> None:
        """ "A guardian link [belongs] to its student's schools." "When the last one is removed, so is the
        guardian's link and, if nothing else keeps them, the guardian; when the last one turns inactive, they do
        too." """
        new: set[tuple[int, int]] = set()
        for here in self.tonight.feeds:
            for student, adult in here.agents:
                pair = [self.decided.person.get((here.name, name)) for name in (student, adult)]
                if None not in pair:
                    new.add((pair[0], pair[1]))  # type: ignore[arg-type]
        states = {number: person.state for number, person in self.now.people.items()}
        counted = []
        for link in set(self.now.guardian_links) - new:
            student, adult = link
            if states[student] in ("removed", "merged") or states[adult] in ("removed", "merged"):
                self.now.guardian_links.discard(link)
            elif states[student] == "inactive" or states[adult] == "inactive":
                continue
            elif student in self.before.people and all(map(self.closed, self.before.belongs(student) or [None])):
                continue
            elif any(not here.feed.complete for here in self.tonight.feeds):
                continue
            else:
                counted.append(link)
        held = self.waiting(
            counted, list(self.before.guardian_links), [], lambda one: self.before.belongs(one[0]) or {None}
        )
        if held:
            self.reasons.add("removal waits: guardian links")
        self.now.guardian_links -= set(counted) - held
        self.now.guardian_links |= new
        for number, why in self.leaving.items():
            if why == "guardian of nobody":
                self.leave_guardian(number)

    def leave_guardian(self, number: int) -> None:
        person = self.now.people[number]
        students = {s for s, g in self.before.guardian_links if g == number}
        states = {self.now.people[s].state for s in students}
        mine = {u for u in self.before.live if self.before.links[u] == number}
        if any(g == number and self.now.people[s].state == "active" for s, g in self.now.guardian_links):
            self.now.live |= mine
        elif "active" in states:
            self.unsure.add(number)  # the link is gone, the student is not
            self.now.live |= mine
        elif "inactive" in states:
            person.state, person.since = "inactive", self.tonight.as_of
            self.now.live |= mine
        else:
            person.state, person.since = "removed", None
            self.now.guardian_links = {(s, g) for s, g in self.now.guardian_links if g != number}

    # -------------------------------------------------------------------------------------- for the next night

    def remember(self) -> None:
        for school in self.tonight.orgs:
            if school not in self.tonight.kept_back and not self.tonight.excluded(school):
                self.now.schools[school] = self.tonight.as_of
        for here in self.tonight.feeds:
            for org, school in here.school_of.items():
                self.now.school_of[here.name, org] = school
            for row in here.rows["enrollments"].values():
                self.now.enrolled.add((here.name, row["user"]))
            if set(here.feed.states.values()) == {"ok"}:
                self.now.complete.add(here.name)
            for name, fate in here.users.items():
                user = (here.name, name)
                if not fate and user in self.decided.person:
                    self.now.rows[user] = here.rows["users"][name]
                    self.now.roles[user] = {(role, here.school_of.get(org)) for role, org in here.roles[name]}
        for name, rows in self.directories.items():
            for row in rows:
                self.now.rows[name, row["id"]] = self.row((name, row["id"]))
                self.now.roles[name, row["id"]] = {(row.get("role", ""), None)}


def waits(n: int, total: int, limits: Safeguards) -> bool:
    """ "At least max(5, min(25, half of the school's rows of that kind)) and at least 20 % of them or 500; and
    always when they would take all of a school's rows of a kind." """
    if n == 0:
        return False
    many = n >= max(limits.small, min(limits.rows, total / 2))
    return n >= total or (many and (n >= limits.share * total or n >= limits.many))


@dataclass
class Counts:
    """The guides' four counts and the created ones, of one provider."""

    unmatched_users: int = 0
    matched_students: int = 0
    matched_teachers: int = 0
    imported_classes: int = 0
    created_students: int = 0
    created_teachers: int = 0


def counts(told: Told, here: Here) -> Counts:
    """ "Matched counts are distinct people, by role at that provider; Imported Classes are that provider's classes
    live after the sync." """
    out = Counts(imported_classes=sum(name == here.name for name, _ in told.roster.classes))
    users = {u: told.outcomes[u] for u in told.outcomes if u[0] == here.name}
    for outcome in ("matched", "created"):
        for role in ("student", "teacher"):
            who = {
                told.decided.person[user]
                for user, what in users.items()
                if what == outcome and any(one == role for one, _ in here.roles[user[1]])
            }
            setattr(out, f"{outcome}_{role}s", len(who))
    unmatched = {user for user, what in users.items() if what == "unmatched"}
    every = fold({user: Publishing._values(None, here.rows["users"][user[1]], False) for user in unmatched})  # type: ignore[arg-type]
    out.unmatched_users = len(every)
    return out


def kept(told: Told, here: Here, collection: str) -> int:
    """ "kept = rows that stand behind the roster; duplicates, filters and kept-back schools are reasons for
    dropping". """
    if collection == "users":
        return sum(user[0] == here.name for user in told.decided.person)
    if collection == "classes":
        return sum(fate == "" for fate in here.classes.values())
    return sum(
        fate == "" and (here.name, here.rows["enrollments"][key]["user"]) in told.decided.person
        for key, fate in here.enrolments.items()
    )

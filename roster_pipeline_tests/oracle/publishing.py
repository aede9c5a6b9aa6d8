"""What is published, what waits, and what a sync tells: product.md after "Merging"."""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import dataclass, replace

from roster_pipeline.tenants.document import Tenant
from roster_pipeline_tests.oracle import new_ids, set_back
from roster_pipeline_tests.oracle import tonight as rules
from roster_pipeline_tests.oracle.matching import Decided, fold
from roster_pipeline_tests.oracle.people import PeopleTonight
from roster_pipeline_tests.oracle.register import Class, Membership, Place, Roster, Told, called
from roster_pipeline_tests.oracle.tonight import Feed, Here, Row, School, Silent, Tonight, User


def night(
    tenant: Tenant, feeds: list[Feed], directories: dict[str, list[Row]], before: Roster, as_of: dt.date
) -> Told:
    """One night: `feeds` with the strongest first, directories in document order."""
    tonight = Tonight(tenant, as_of, [rules.read(feed) for feed in feeds])
    rules.join_schools(tonight, before.school_of, before.orgs)
    rows = {school: set_back.rows_of(tonight, before.school_of, school) for school in before.undone}
    tonight.kept_back = {school: {"undone"} for school in set_back.waiting(tonight, before, rows)}
    names = new_ids.classes(tonight, before)
    before = copy.deepcopy(before)
    new_ids.rename(before, {old: new for new, old in names.items()})
    rules.judge_classes(
        tonight, {name: (one.school, (one.start, one.end)) for name, one in before.classes.items()}
    )
    tonight.there = {u for u in before.live if before.people[before.links[u]].state == "active"}
    rules.judge_users(tonight, before.enrolled, before.away())
    had_rows = {school for number in before.people for school in before.belongs(number)}
    had_rows |= {class_.school for class_ in before.classes.values()}
    rules.judge_schools(tonight, had_rows, before.grades(), standing(tonight, before))
    drop_rows_of_kept_schools(tonight, before)
    publishing = Publishing(tonight, before, directories)
    told = publishing.run()
    if told.status != "failed":
        told.roster.undone = {
            school: replace(one, rows=rows[school]) if one.rows is None else one
            for school, one in before.undone.items()
            if publishing.closed(school)
        }
    # What stays as it is, stays so under the old ids.
    stays = {one.school for one in told.roster.classes.values()}
    stays = stays if told.status == "failed" else {one for one in stays if publishing.closed(one)}
    new_ids.rename(told.roster, new_ids.closed_again(names, told.roster, stays))
    return told


def standing(tonight: Tonight, before: Roster) -> dict[School, set[str]]:
    """Roles and grades at each school of those who stay as published, because a provider of theirs is
    unread: "a failed read is not an empty one". Nobody of a grade is "gone" either whom an unproven
    extract, which "removes nothing", does not have."""
    feeds = {here.name: here for here in tonight.feeds}
    out: dict[School, set[str]] = {}
    for user in before.live:
        here, person = feeds.get(user[0]), before.people[before.links[user]]
        if here is None or here.feed.states["users"] == "ok" or user[1] in here.ids["users"]:
            continue
        for role, school in person.roles:
            if school:
                told = {role} if here.feed.unread else set()
                out.setdefault(school, set()).update(told, person.fields.get("grades") or [])  # type: ignore[arg-type]
    return out


def drop_rows_of_kept_schools(tonight: Tonight, before: Roster) -> None:
    """ "A school with no last good roster is not published; rows of it alone are dropped (school_kept_back),
    with no outcome and no id." Somebody inactive who has such a row and no other is "frozen", "if all [their
    schools] are kept back": they are back when the school is published, and no row stands behind them."""
    for here in tonight.feeds:
        for name, schools in here.schools_of.items():
            closed = all(school in tonight.kept_back or school in here.excluded for school in schools)
            if not schools or not closed:
                continue
            user = here.name, name
            there = user in before.live and before.people[before.links[user]].state == "active"
            if not here.users[name] and not there:
                here.users[name] = "school kept back"
            elif here.users[name] == "guardian of nobody" and user in before.live:
                here.users[name] = (
                    ""  # "frozen if all [schools] are kept back": their students are there, too
                )


class Publishing(PeopleTonight):
    """All of one night, in the order of product.md."""

    def run(self) -> Told:
        if self.failed():
            return self.nothing_new()
        self.match()
        for here in self.tonight.feeds:
            for user in self.decided.outcomes:
                orgs = {org for _, org in here.roles[user[1]]} if user[0] == here.name else set()
                if orgs and {here.school_of.get(org) for org in orgs} <= here.excluded:
                    raise Silent  # whether somebody is counted by a role at an excluded school alone
        self.people()
        self.classes()
        self.members()
        self.roles_of_classes()
        self.guardians()
        self.now.unsure = self.unsure | (self.before.unsure - set(self.decided.person.values()))
        self.remember()
        status = self.status()
        if status == "failed":
            return self.nothing_new()
        outcomes = dict(self.decided.outcomes)
        return Told(
            status, self.now, self.tonight, self.decided, outcomes, self.now.unsure, self.reasons,
            set(self.directories),
        )  # fmt: skip

    def nothing_new(self) -> Told:
        """A failed sync: all stays as it was."""
        now = copy.deepcopy(self.before)
        now.complete |= {h.name for h in self.tonight.feeds if set(h.feed.states.values()) == {"ok"}}
        return Told("failed", now, self.tonight, Decided(), {}, reasons=self.reasons)

    def failed(self) -> bool:
        """ "failed: nothing new could be published: no provider was readable, or every school was kept
        back." """
        tonight = self.tonight
        if all(here.feed.unread for here in tonight.feeds):
            return True
        # "Nothing new could be published": of a school of whom nothing was read, nothing is.
        known = {
            *tonight.orgs,
            *(s for h in tonight.feeds for s in h.had_schools if s in self.before.schools),
        }
        schools = [s for s in known if not tonight.excluded(s) and s not in tonight.empty]
        schools += [s for s in tonight.kept_back if s not in schools]
        set_back = [s for s in schools if tonight.kept_back.get(s) == {"undone"}]
        every = bool(schools) and all(s in tonight.kept_back or tonight.silent(s) for s in schools)
        if every and set_back and len(set_back) < len(schools):
            raise Silent  # whether every school was kept back, where an undo holds some and their data others
        return every and not set_back  # those were read, and stay as somebody wants them

    def status(self) -> str:
        """ "partial: published, but a collection was not ok, a school was kept back, or a removal is held.
        successful: all else." Where that trouble leaves nobody and nothing to publish, "nothing new could be
        published": failed, as in ../cases/merging.yaml, weaker-provider-waits. Not where an undo holds the
        schools: that is a decision and no trouble."""
        for here in self.tonight.feeds:
            if set(here.feed.states.values()) != {"ok"}:
                self.reasons.add("collection")
        if self.tonight.kept_back:
            self.reasons.add("kept back")
        nobody = all(one.state not in ("active", "inactive") for one in self.now.people.values())
        if self.reasons and nobody and not self.now.classes:
            set_back = [why == {"undone"} for why in self.tonight.kept_back.values()]
            if any(set_back) and (not all(set_back) or "collection" in self.reasons):
                raise Silent  # whether it is an undo that leaves nobody to publish, or the trouble beside it
            return "partial" if any(set_back) else "failed"
        return "partial" if self.reasons else "successful"

    # ------------------------------------------------------------------ classes

    def classes(self) -> None:
        """ "A class ends, without a hold, once its last session's end date, as published before, has passed.
        A session that vanished or was shortened is not an end: its class stays as published and the sync is
        `partial`." """
        gone: list[User] = []
        self.waiting_classes: set[User] = set()
        self.without_session: set[User] = set()
        for class_, old in self.before.classes.items():
            here = next((one for one in self.tonight.feeds if one.name == class_[0]), None)
            if self.closed(old.school):
                continue
            fate = here.classes.get(class_[1], "gone") if here else "retired"
            if fate == "":
                continue
            if here and (here.feed.states["classes"] != "ok" or fate == rules.UNKNOWN):
                self.waiting_classes.add(class_)
                if fate == rules.UNKNOWN:
                    self.without_session.add(class_)
                continue
            if here and fate == "gone" and not here.options.sync_classroom_data:
                fate = "classroom data off"  # since a night that was not complete
            exclusive = bool(here and here.options.end_dates == "exclusive")
            if (
                fate in ("not current", "gone")
                and old.end
                and not rules.within((None, old.end), self.tonight.as_of, exclusive)
            ):
                self.ended.add(class_)
            elif fate == "not current":
                self.waiting_classes.add(class_)
                self.without_session.add(class_)
                self.reasons.add("session vanished")
            elif fate in ("gone", "refers to nothing"):
                gone.append(class_)
                continue
            if class_ not in self.waiting_classes:
                del self.now.classes[class_]
        settled = [one for one in self.before.classes if one not in self.now.classes]
        found = self.waiting(
            "classes", gone, list(self.before.classes), [], lambda one: {self.before.classes[one].school},
            settled,
        )  # fmt: skip
        held = self.hold(found)
        for class_ in gone:
            if class_ in held:
                self.waiting_classes.add(class_)
                self.reasons.add("removal waits: classes")
            else:
                del self.now.classes[class_]
        for here in self.tonight.feeds:
            for name, fate in here.classes.items():
                if fate == "":
                    self.now.classes[here.name, name] = Class(
                        here.school_of[here.rows["classes"][name]["school"]],
                        *rules.outer(here.class_spans[name]),
                        *called(here, here.rows["classes"][name]),
                    )

    # ------------------------------------------------------------------ memberships

    def members(self) -> None:
        """Memberships of the classes published tonight; others stay, end with their class, or wait."""
        new: dict[Membership, set[tuple[str, str, str]]] = {}
        past: set[Membership] = set()
        spoken_of: set[Membership] = set()
        for here in self.tonight.feeds:
            for key, row in here.rows["enrollments"].items():
                user = (here.name, row["user"])
                number = self.decided.person.get(user, self.now.links.get(user))
                if number is None:
                    continue
                membership = ((here.name, row["class"]), number, rules.role_name(row["role"]))
                spoken_of.add(membership)
                if membership[0] in self.without_session and membership not in self.now.memberships:
                    raise Silent  # whether somebody new comes into a class whose session vanished
                if (
                    here.enrolments[key] == ""
                    and user in self.decided.person
                    and self.now.people[number].state == "active"
                ):
                    spoken = (row.get("beginDate", ""), row.get("endDate", ""))
                    spoken = spoken if any(rules.dates(*spoken)) else ("", "")
                    new.setdefault(membership, set()).add((*spoken, row.get("primary", "")))
                elif here.enrolments[key] not in ("refers to nothing", ""):
                    past.add(membership)
        counted: list[Membership] = []
        settled: list[Membership] = []
        for membership in list(self.now.memberships):
            class_, number, _ = membership
            if class_ in self.without_session and membership not in spoken_of:
                raise Silent  # whether somebody leaves a class whose session vanished
            goes = self.now.people[number].state in ("removed", "merged")
            if (
                self.has_gone(class_)
                and not goes
                and not (membership in past or number in self.approved_people)
            ):
                counted.append(membership)
            elif class_ not in self.now.classes or goes:
                del self.now.memberships[membership]
                settled.append(membership)
            elif self.stays(membership):
                pass
            elif membership in new or membership in past or number in self.approved_people:
                # "With people go their memberships" (docs/holds.md).
                del self.now.memberships[membership]
                settled += [membership] if membership not in new else []
            else:
                counted.append(membership)
        self.hold_memberships(counted, settled)
        for membership, spans in new.items():
            if membership[0] in self.now.classes and not self.closed(self.now.classes[membership[0]].school):
                self.now.memberships[membership] = min(spans) if len(spans) == 1 else ("?", "?", "?")

    def stays(self, membership: Membership) -> bool:
        class_, number, _ = membership
        if number in self.held_people:  # whose removal waits is as published, with all that is theirs
            return True
        if class_ in self.waiting_classes or self.closed(self.now.classes[class_].school):
            return True
        here = self.tonight.here(class_[0])
        # "Nothing is removed unless a complete extract" (all collections of a provider) "shows them gone".
        return not here.feed.complete or here.feed.states["classes"] != "ok"

    def hold_memberships(self, counted: list[Membership], settled: list[Membership]) -> None:
        """ "... per school and kind of row ...; in a class, when they are at least half of its members and at
        least 5". What goes with its class is a removal like others ("end of term, leaving by dates, and
        what the settings take out are not counted"): where it waits there is a class for it to be in."""
        limits = self.tonight.tenant.safeguards
        total = list(self.before.memberships)

        def school_of(one: Membership) -> set[School | None]:
            return {self.before.classes[one[0]].school} if one[0] in self.before.classes else set()

        found = self.waiting("memberships", counted, total, [], school_of, settled)
        first = {one for rows, _ in found.values() for one in rows}

        def would_wait(rows: list[Membership]) -> set[Membership]:
            again = self.waiting("memberships", rows, total, [], school_of)
            return {one for some, _ in again.values() for one in some}

        ended = [
            one for one in settled if one[1] in self.ended_graces and one[0] in self.now.classes
        ]  # fmt: skip
        if would_wait([*counted, *ended]) - {*ended} != first:
            raise Silent  # whether memberships of people whose grace ends are counted
        held = self.hold(found)
        let_go = self.let_go - held
        for class_ in {one[0] for one in counted if not self.has_gone(one[0])}:
            mine = [one for one in counted if one[0] == class_ and one not in let_go]
            members = sum(one[0] == class_ for one in self.before.memberships)
            school = self.before.classes[class_].school
            at: Place = ("memberships", school, class_)
            members = min(members, self.before.holds[at].total) if at in self.before.holds else members
            more = len(mine) + sum(one[0] == class_ for one in ended)
            waits = [n >= limits.class_share * members and n >= limits.class_rows for n in (len(mine), more)]
            if school in self.before.again:
                continue
            if waits[0] != waits[1]:
                raise Silent  # the same of one class
            if waits[0]:
                held |= self.hold({at: (set(mine), members)})
        for one in counted:
            if one in held:
                self.reasons.add("removal waits: memberships")
            else:
                del self.now.memberships[one]
        for class_ in {one[0] for one in held if self.has_gone(one[0])}:
            self.now.classes[class_] = self.before.classes[class_]

    def has_gone(self, class_: User) -> bool:
        """Whether a class goes tonight for no reason that is "not counted", and that nobody approved."""
        here = next((one for one in self.tonight.feeds if one.name == class_[0]), None)
        if here is None or class_ not in self.before.classes or class_ in self.now.classes:
            return False
        return here.classes.get(class_[1], "gone") == "gone" and class_ not in self.ended | self.let_go

    # ------------------------------------------------------------------ guardians

    def guardians(self) -> None:
        """ "A guardian link [belongs] to its student's schools." "When the last one is removed, so is the
        guardian's link and, if nothing else keeps them, the guardian; when the last one turns inactive, they
        do too." """
        new: set[tuple[int, int]] = set()
        for here in self.tonight.feeds:
            for student, adult in here.agents:
                if {(here.name, student), (here.name, adult)} <= set(self.decided.person):
                    new.add((self.decided.person[here.name, student], self.decided.person[here.name, adult]))
        self.hear_guardians()
        states = {number: person.state for number, person in self.now.people.items()}
        counted = []
        for link in self.now.guardian_links - new:
            one, other = link
            if states[one] in ("removed", "merged") or states[other] in ("removed", "merged"):
                self.now.guardian_links.discard(link)
            elif (
                # "Never removed while one [of the schools] is kept back."
                one in self.before.people and any(map(self.closed, self.groups_of(one)))
            ) or self.is_unheard(link):
                continue
            elif self.is_taken_out(link):
                self.now.guardian_links.discard(link)
            elif self.held_people & {one, other}:  # with all that is theirs
                continue
            elif states[one] == "inactive" or (states[other] == "inactive" and not self.is_nobodys(other)):
                continue  # "whoever returns gets the same ... links"
            elif any(not self.tonight.here(name).feed.complete for name in self.now.ever_said.get(link, ())):
                raise Silent  # whether a provider that had stopped saying so has to be heard once more
            else:
                counted.append(link)
        held = self.hold(
            self.waiting(
                "guardian links", counted, self.before.guardian_links, [], lambda one: self.groups_of(one[0])
            )
        )
        if held:
            self.reasons.add("removal waits: guardian links")
        self.now.guardian_links -= set(counted) - held
        self.now.guardian_links |= new
        for number, why in self.leaving.items():
            if why == "guardian of nobody":
                self.leave_guardian(number)

    def is_nobodys(self, guardian: int) -> bool:
        """Whether somebody inactive has a row that is there and names no student: as "a guardian is current
        while at least one linked student is", one who is there again is theirs no more."""
        return any(
            here.users.get(user) == "guardian of nobody"
            for here in self.tonight.feeds
            for (name, user), number in self.now.links.items()
            if name == here.name and number == guardian
        )

    def is_taken_out(self, link: tuple[int, int]) -> bool:
        """ "What an option takes out of scope is removed at the next complete sync, without a hold": whether
        everybody who said it is not asked any more, or not for one of the two."""
        speaking = [self.tonight.here(name) for name in self.before.said.get(link, ())]
        return bool(speaking) and all(
            not here.options.sync_parent_data
            or any(
                here.users.get(user) in ("guardian not wanted", *rules.LIMITED)
                for (name, user), number in self.now.links.items()
                if name == here.name and number in link
            )
            for here in speaking
        )

    def hear_guardians(self) -> None:
        """Remembers which provider, when it was last read whole, said that two belong together."""
        for here in self.tonight.feeds:
            if not here.feed.complete:
                continue
            for names in self.now.said.values():
                names.discard(here.name)
            for student, adult in here.agents:
                link = tuple(self.now.links.get((here.name, user), -1) for user in (student, adult))
                for memory in (self.now.said, self.now.ever_said):
                    memory.setdefault(link, set()).add(here.name)  # type: ignore[arg-type]

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

    def is_unheard(self, link: tuple[int, int]) -> bool:
        """ "Guardian links are the union": whether a provider that said it last, or that knows both and may
        say it, was not read whole tonight: it "removes nothing"."""
        if any(not self.tonight.here(name).feed.complete for name in self.before.said.get(link, ())):
            return True
        knows = [{user[0] for user, number in self.now.links.items() if number == one} for one in link]
        return any(
            here.options.sync_parent_data and not here.feed.complete and here.name in knows[0] & knows[1]
            for here in self.tonight.feeds
        )

    # ------------------------------------------------------------------ for the next night

    def remember(self) -> None:
        self.now.holds = self.holds | {
            place: hold
            for place, hold in self.before.holds.items()
            if place not in self.holds and self.cannot_judge(place[1])
        }
        for school in self.tonight.orgs:
            having = [h.feed for h in self.tonight.feeds if school in {*h.school_of.values(), *h.had_schools}]
            if self.tonight.excluded(school):
                self.now.again.add(school)
            elif school not in self.tonight.kept_back and all(
                feed.complete and feed.states["classes"] == feed.states["orgs"] == "ok" for feed in having
            ):
                self.now.again.discard(school)
        for school in self.tonight.orgs:
            if not any(
                (school in self.tonight.kept_back, self.tonight.excluded(school), self.tonight.silent(school))
            ):
                self.now.schools[school] = self.tonight.as_of
                name, org = self.tonight.orgs[school][0]
                self.now.named[school] = (name, org), self.tonight.here(name).rows["orgs"][org]["name"]
        for here in self.tonight.feeds:
            for org, school in here.school_of.items():
                self.now.school_of[here.name, org] = school
                self.now.orgs[here.name, org] = here.rows["orgs"][org]
            for row in here.rows["enrollments"].values():
                self.now.enrolled.add((here.name, row["user"]))
            if set(here.feed.states.values()) == {"ok"}:
                self.now.complete.add(here.name)
            if not here.feed.unread:
                left = {(here.name, name) for name in here.left}
                unread = here.feed.states["users"] != "ok"
                self.now.left = left | {
                    user
                    for user in self.now.left
                    if user[0] != here.name or (unread and user[1] not in here.ids["users"])
                }
            for name, fate in here.users.items():
                user = (here.name, name)
                if not fate and user in self.decided.person:
                    # "Frozen if all are kept back": a school "keeps its last good row"; what an incomplete
                    # one says of its people was never used.
                    if self.decided.person[user] in self.frozen and user in self.before.rows:
                        continue
                    self.now.rows[user] = here.rows["users"][name]
                    self.now.roles[user] = self.roles_of(user)
        for name, rows in self.directories.items():
            for row in rows:
                self.now.rows[name, row["id"]] = self.row((name, row["id"]))
                self.now.roles[name, row["id"]] = {(row.get("role", ""), None)}

    def cannot_judge(self, school: School | None) -> bool:
        """Whether a place tells nothing tonight of what waits there: the school stays as it is, or not all
        that bring it were read whole ("it ends when the source brings the rows back", docs/holds.md)."""
        known = {name for (name, _), one in self.now.school_of.items() if one == school}
        return self.closed(school) or any(
            here.feed.states[name] != "ok"
            for here in self.tonight.feeds
            if school is None or here.name in known
            for name in ("orgs", "classes", "users", "enrollments")
        )


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
    """ "Matched counts are distinct people, by role at that provider; Imported Classes are that provider's
    classes live after the sync." """
    out = Counts(imported_classes=sum(name == here.name for name, _ in told.roster.classes))
    users = {u: told.outcomes[u] for u in told.outcomes if u[0] == here.name}
    for name, count in distinct(told, [here]).items():
        setattr(out, name, count)
    unmatched = {user for user, what in users.items() if what == "unmatched"}
    every = fold({user: Publishing._values(None, here.rows["users"][user[1]], False) for user in unmatched})  # type: ignore[arg-type]
    out.unmatched_users = len(every)
    return out


def distinct(told: Told, feeds: list[Here]) -> dict[str, int]:
    """ "Distinct people, by role at that provider", of one provider or of all."""
    out = {}
    for outcome in ("matched", "created"):
        for role in ("student", "teacher"):
            who = {
                told.decided.person[user]
                for here in feeds
                for user, what in told.outcomes.items()
                if user[0] == here.name and what == outcome
                if any(one == role for one, _ in here.roles[user[1]])
            }
            out[f"{outcome}_{role}s"] = len(who)
    return out


def kept(told: Told, here: Here, collection: str) -> int:
    """ "kept = rows that stand behind the roster; duplicates, filters and kept-back schools are reasons for
    dropping"."""
    if collection == "users":
        return sum(user[0] == here.name for user in told.decided.person)
    if collection == "classes":
        return sum(fate == "" for fate in here.classes.values())
    return sum(
        fate == "" and (here.name, here.rows["enrollments"][key]["user"]) in told.decided.person
        for key, fate in here.enrolments.items()
    )

"""The pipeline and the oracle on the same tenant, night after night, and what differs between them."""

from __future__ import annotations

import copy
import json
import linecache
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS, LISTS
from roster_pipeline_tests.oracle import publishing
from roster_pipeline_tests.oracle import tonight as rules
from roster_pipeline_tests.oracle.changes import change
from roster_pipeline_tests.oracle.register import APPROVED_FOR, FIELDS, Roster, Told
from roster_pipeline_tests.oracle.tenants import Made, make
from roster_pipeline_tests.oracle.tonight import Feed, Row, Silent, User
from roster_pipeline_tests.oracle.tonight import dates as dates_of
from roster_pipeline_tests.rosters import Night, Provider, Story

SET_BACK = "schools"  # the kind of place where a school waits after an undo


@dataclass
class Run:
    """What was compared, and what differed: texts, the first night of each tenant that had any."""

    tenants: int = 0
    nights: int = 0
    silent: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    ended: str = ""  # where the page was silent about the last tenant, and on which of its nights

    def summary(self) -> str:
        """One line."""
        why = ", ".join(f"{place} {count}" for place, count in self.silent.most_common())
        return (
            f"{self.tenants} tenants, {self.nights} nights compared, {len(self.differences)} differences, "
            f"{self.silent.total()} silent ({why})"
        )


def compare(number: int, nights: int, run: Run) -> Made:
    """Makes the tenant of this number and compares its nights, until one differs or the page is silent."""
    made = make(random.Random(number))
    run.ended = ""
    try:
        _compare(made, number, nights, run)
    except AssertionError as broken:  # an invariant of `Night.check`
        run.differences.append(f"tenant {number}: {broken}")
    except Exception as error:
        error.add_note(f"tenant {number}, {made.happened}")
        raise
    else:
        run.differences = [text.replace("TENANT", f"tenant {number}") for text in run.differences]
    return made


def _compare(made: Made, seed: int, nights: int, run: Run) -> None:
    story = Story(made.providers, made.directories, made.settings)
    for provider in made.providers:
        story.id_of(provider)
    roster, names, complete = Roster(), Names(), {}  # type: ignore[var-annotated]
    run.tenants += 1
    decides = random.Random(f"decisions {seed}")
    for number in range(nights):
        if number:
            change(made)
        feeds = [feed_of(one, story, complete) for one in made.providers]
        directories = {
            one.name: [{"id": who, **row} for who, row in one.people.items()] for one in made.directories
        }
        # Silence is decided before the pipeline is asked, so that it cannot hide a difference.
        try:
            told = publishing.night(story.tenant(), feeds, directories, roster, made.as_of)
        except Silent as why:
            place = place_of(why)
            run.silent[place] += 1
            run.ended = f"silent on night {number + 1}: {place}; {made.happened}"
            return
        night = story.night(made.as_of.isoformat())
        night.check()
        run.nights += 1
        found = differences(night, told, names)
        if found:
            run.differences += [f"TENANT, {made.happened}: {text}" for text in found]
            return
        roster = told.roster
        if roster.holds and decides.random() < 0.5:
            decision = decides.choice(("approved", "approved", "rejected"))
            roster.decide(decision, made.as_of)
            story.decide(decision, expires_on=(made.as_of + APPROVED_FOR).isoformat())
            made.told.append(decision)


def place_of(why: Silent) -> str:
    """Where the page was found silent, with the comment of that line."""
    line = why.__traceback__
    while line and line.tb_next:
        line = line.tb_next
    assert line
    code = line.tb_frame.f_code
    _, _, comment = linecache.getline(code.co_filename, line.tb_lineno).partition("# ")
    return f"{code.co_name} ({comment.strip()})"


def feed_of(one: Provider, story: Story, complete: dict[tuple[str, str], list[Row]]) -> Feed:
    """A provider as the oracle gets it; a stale collection has the rows of its last complete one."""
    rows: dict[str, list[Row]] = {}
    states = {name: str(one.states.get(name, "ok")) for name in COLLECTIONS}
    for name, state in states.items():
        lists = LISTS.get(name, frozenset())
        rows[name] = [
            {key: copy.deepcopy(row.get(key) or ([] if key in lists else "")) for key in COLUMNS[name]}
            for row in one.records(name)
        ]
        if state == "ok":
            complete[one.name, name] = copy.deepcopy(rows[name])
        elif state == "stale":
            rows[name] = complete.get((one.name, name), [])
        elif state == "failed":
            rows[name] = []
    place = next(n for n, other in enumerate(story.providers) if other is one)
    return Feed(one.settings(place), rows, states)


# ------------------------------------------------------------------------------------------ differences


@dataclass
class Names:
    """The pipeline's id of each person of the oracle, kept from night to night: ids never change."""

    person: dict[int, str] = field(default_factory=dict)

    def learn(self, night: Night, told: Told) -> str:
        """Finds each person's id by their users; what is wrong with it, or ""."""
        names = {who: name for name, who in night.provider_ids.items()}
        theirs = {
            (names[row["provider_id"]], row["source_id"]): row["person_id"]
            for row in night.published.person_sources.to_dict("records")
        }
        published = {n for n, one in told.roster.people.items() if one.state not in ("candidate", "merged")}
        ours: dict[int, set[User]] = {}
        for user, number in told.roster.links.items():
            # Who has been removed and is only in a directory now is a candidate again, and not published.
            candidate = told.roster.people[number].state == "removed" and user[0] in told.directories
            if number in published and user in told.roster.live and not candidate:
                ours.setdefault(number, set()).add(user)
        for number, users in sorted(ours.items()):
            found = {theirs.get(user, "nobody") for user in users}
            if len(found) != 1:
                return f"of {sorted(users)}, one person by the page, the pipeline has {len(found)}"
            (person,) = found
            if self.person.setdefault(number, person) != person:
                return f"the id of {sorted(users)} is another one than before"
        several = Counter(self.person[number] for number in ours)
        if double := [sorted(users) for n, users in ours.items() if several[self.person[n]] > 1]:
            return f"one person by the pipeline, several by the page: {double}"
        return ""


def differences(night: Night, told: Told, names: Names) -> list[str]:
    """Everything on which the two do not agree, in words."""
    if "failed" in (night.status, told.status):
        return _unlike("status", night.status, told.status)
    waits = "partial" if told.status == "successful" and no_school_waits(night) else told.status
    out = _unlike("status", night.status, waits, told.reasons)
    provider = {who: name for name, who in night.provider_ids.items()}
    outcomes = {
        (provider[row["provider_id"]], row["source_id"]): row["outcome"]
        for row in night.found.identities.outcomes.to_dict("records")
    }
    directories = set(told.directories)
    ours = {u: what for u, what in told.outcomes.items() if u[0] not in directories}
    out += _sets("outcomes", outcomes, ours)
    published = published_differences(night, told, names)
    return [*out, *published, *_schools(night, told), *_counts(night, told)]


def published_differences(night: Night, told: Told, names: Names) -> list[str]:
    """What differs in what is published, and in what waits."""
    if wrong := names.learn(night, told):
        return [wrong]
    return [*_people(night, told, names), *_classes(night, told, names), *_held(night, told)]


def no_school_waits(night: Night) -> bool:
    """Whether an undo set back what is of no school: sessions that no class names, for there are none in the
    page's roster here, and of people of no school `set_back` is silent."""
    holds = night.published.holds.to_dict("records")
    return any((row["kind"], row["school_id"]) == (SET_BACK, "") for row in holds)


def _people(night: Night, told: Told, names: Names) -> list[str]:
    rows = {row["person_id"]: row for row in night.table("people")}
    called = {names.person[n]: f"person {n}" for n in names.person}
    ours = {
        names.person[n]: one
        for n, one in told.roster.people.items()
        if one.state in ("active", "inactive") and n in names.person
    }
    unsure = {names.person[n] for n in told.unsure if n in names.person}
    states = {one: "inactive" if row["inactive_since"] else "active" for one, row in rows.items()}
    out = _sets(
        "people",
        {called.get(one, "somebody"): state for one, state in states.items() if one not in unsure},
        {called[one]: person.state for one, person in ours.items() if one not in unsure},
    )
    school = school_ids(night, told)
    for one, person in ours.items():
        row = rows.get(one)
        if row is None or person.state != "active" or one in unsure:
            continue
        for name in FIELDS:
            value = json.loads(row[name] or "[]") if name == "grades" else row[name]
            if value != person.fields[name] and person.fields[name] != "*****":
                out.append(f"{name} of {called[one]}: pipeline {value!r}, page {person.fields[name]!r}")
        theirs = {(held["role"], held["school_id"]) for held in json.loads(row["roles"] or "[]")}
        mine = {(role, school.get(where, "?") if where else None) for role, where in person.roles}
        out += _unlike(f"roles of {called[one]}", theirs, mine)
    links = {(row["student_id"], row["guardian_id"]) for row in night.table("guardian_links")}
    mine_ = {
        (names.person[a], names.person[b])
        for a, b in told.roster.guardian_links
        if {a, b} <= set(names.person)
    }
    awake = {one for one, person in ours.items() if person.state == "active"} - unsure
    out += _unlike(
        "guardian links",
        {(called.get(a), called.get(b)) for a, b in links if {a, b} <= awake},
        {(called[a], called[b]) for a, b in mine_ if {a, b} <= awake},
    )
    return out


def school_ids(night: Night, told: Told) -> dict[User, str]:
    """The pipeline's id of each school, by each org that it is."""
    names = {who: name for name, who in night.provider_ids.items()}
    rows = night.published.school_sources.to_dict("records")
    ids = {(names[row["provider_id"]], row["source_id"]): row["school_id"] for row in rows}
    for school, orgs in told.tonight.orgs.items():  # named by an org that was never published, or is gone
        found = [ids[org] for org in orgs if org in ids]
        if found:
            ids.setdefault(school, found[0])
    return ids


def _classes(night: Night, told: Told, names: Names) -> list[str]:
    provider = {who: name for name, who in night.provider_ids.items()}
    school = school_ids(night, told)
    theirs = {(provider[row["provider_id"]], row["source_id"]): row for row in night.table("classes")}
    ours = told.roster.classes
    out = _unlike("classes", set(theirs), set(ours))
    for name in set(theirs) & set(ours):
        row, one = theirs[name], ours[name]
        spoken = (row["school_id"], row["start_date"], row["end_date"])
        out += _unlike(
            f"class {name}", spoken, (school.get(one.school, "?"), str(one.start or ""), str(one.end or ""))
        )
    ids = {row["class_id"]: name for name, row in theirs.items()}
    called = {person: f"person {n}" for n, person in names.person.items()}
    unsure = {f"person {n}" for n in told.unsure}
    found = {
        (ids[row["class_id"]], called.get(row["person_id"], "?"), row["role"]): (
            row["begin_date"],
            row["end_date"],
            row["is_primary"],
        )
        for row in night.table("memberships")
    }
    expected = {
        (class_, called[names.person[number]], role): dates
        for (class_, number, role), dates in told.roster.memberships.items()
    }
    sure = {key for key in {*found, *expected} if key[1] not in unsure}
    out += _unlike("memberships", {k for k in found if k in sure}, {k for k in expected if k in sure})
    for key in set(found) & set(expected):
        begin, end, primary = expected[key]
        if begin != "?":
            read = [*(str(day or "") for day in dates_of(begin, end)), primary]
            out += _unlike(f"dates of {key}", list(found[key]), read)
    return out


def _schools(night: Night, told: Told) -> list[str]:
    school = school_ids(night, told)
    tonight = told.tonight
    out = []
    theirs = {row["school_id"]: row["state"] for row in night.report["schools"]}
    for one in tonight.orgs:
        if one in tonight.empty or one not in school or any(not h.feed.complete for h in tonight.feeds):
            continue
        state = "kept" if one in tonight.kept_back else "excluded" if tonight.excluded(one) else "published"
        out += _unlike(f"state of {one}", theirs.get(school[one]), state)
    return out


def _held(night: Night, told: Told) -> list[str]:
    """What waits where, and of how many."""
    if told.unsure:
        return []
    school = school_ids(night, told)
    provider = {who: name for name, who in night.provider_ids.items()}
    class_ids = {
        (provider[row["provider_id"]], row["source_id"]): row["class_id"] for row in night.table("classes")
    }
    theirs = {
        (row["kind"].replace("_", " "), row["school_id"], row["class_id"]): int(row["total"])
        for row in night.published.holds.to_dict("records")
        if row["kind"] != SET_BACK
    }
    set_back = {
        row["school_id"] for row in night.published.holds.to_dict("records") if row["kind"] == SET_BACK
    } - {""}  # see `no_school_waits`
    out = _unlike("set back", set_back, {school.get(one, "?") for one in told.roster.undone})
    ours = {
        (
            kind,
            school.get(where, "?") if where else "",
            class_ids.get(class_, "?") if class_ else "",
        ): hold.total
        for (kind, where, class_), hold in told.roster.holds.items()
    }
    return out + _sets("what waits, of how many", theirs, ours)


def _tenant_counts(night: Night, told: Told) -> list[str]:
    """What is told of the whole tenant."""
    here = told.roster
    active = {n: one for n, one in here.people.items() if one.state == "active"}
    ours = {
        "imported_classes": len(here.classes),
        "unmatched_users": sum(publishing.counts(told, one).unmatched_users for one in told.tonight.feeds),
        **publishing.distinct(told, told.tonight.feeds),
    }
    if not told.unsure:
        ours |= {
            "people": len(active),
            "memberships": len(here.memberships),
            "guardian_links": len(here.guardian_links),
            "students": sum(any(role == "student" for role, _ in one.roles) for one in active.values()),
            "teachers": sum(any(role == "teacher" for role, _ in one.roles) for one in active.values()),
        }
    return _sets("counts of the tenant", {name: night.counts[name] for name in ours}, ours)


def _counts(night: Night, told: Told) -> list[str]:
    out = _tenant_counts(night, told)
    closed = [one for one in told.tonight.orgs if one in told.tonight.kept_back or told.tonight.excluded(one)]
    for here in told.tonight.feeds:
        line = night.told(here.name)
        ours = vars(publishing.counts(told, here))
        out += _sets(f"counts of {here.name}", {name: line[name] for name in ours}, ours)
        for collection in ("users", "classes", "enrollments"):
            counted = line["collections"][collection]
            out += _unlike(
                f"{collection} read of {here.name}", counted["read"], len(here.feed.rows[collection])
            )
            # Which rows of what stays as published are kept, the page does not say.
            unknown = rules.UNKNOWN in here.classes.values()
            as_it_was = "session vanished" in told.reasons or any(map(told.roster.schools.get, closed))
            if here.feed.complete and not as_it_was and not unknown:
                kept = publishing.kept(told, here, collection)
                out += _unlike(
                    f"{collection} kept of {here.name} {counted['dropped']}", counted["kept"], kept
                )
    return out


def _unlike(what: str, theirs: Any, ours: Any, why: Any = "") -> list[str]:
    if theirs == ours:
        return []
    if isinstance(theirs, set):
        theirs, ours = sorted(theirs - ours, key=str), sorted(ours - theirs, key=str)
    return [f"{what}: pipeline {theirs}, page {ours} {why or ''}".rstrip()]


def _sets(what: str, theirs: dict[Any, Any], ours: dict[Any, Any]) -> list[str]:
    return _unlike(what, set(theirs.items()), set(ours.items()))

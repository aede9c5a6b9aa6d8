"""Classes and users under new ids: docs/holds.md, "New ids"."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from roster_pipeline_tests.oracle import tonight as rules
from roster_pipeline_tests.oracle.register import Roster, called
from roster_pipeline_tests.oracle.tonight import Here, School, Tonight, User

Told = tuple[str, ...]  # what tells one row from all others; empty where that is not known


def recognised(old: Mapping[str, Told], gone: Collection[str], new: Mapping[str, Told]) -> dict[str, str]:
    """ "Where at least five ... and at least half of them go at once, and at least four of five are there
    under other ids, with [what] only one has": new id → old id."""
    if len(gone) < 5 or len(gone) * 2 < len(old):
        return {}
    found = {}
    for name, told in new.items():
        before = [one for one, other in old.items() if other == told]
        if told and list(new.values()).count(told) == 1 and len(before) == 1 and before[0] in gone:
            found[name] = before[0]
    return found if len(found) * 5 >= len(gone) * 4 else {}


def classes(tonight: Tonight, before: Roster) -> dict[User, User]:
    """New id → the id under which the class was published; only a complete extract shows anything gone."""
    out: dict[User, User] = {}
    for here in tonight.feeds:
        mine = {name: one for (who, name), one in before.classes.items() if who == here.name}
        new = {name: row for name, row in here.rows["classes"].items() if name not in mine}
        for school in {one.school for one in mine.values()} if here.feed.states["classes"] == "ok" else ():
            old = {
                name: (one.title, one.code, str(one.start), str(one.end)) if one.start and one.end else ()
                for name, one in mine.items()
                if one.school == school
            }
            came = {
                n: _told_of(here, n) for n, row in new.items() if here.school_of.get(row["school"]) == school
            }
            gone = old.keys() - here.ids["classes"]
            out |= {(here.name, name): (here.name, was) for name, was in recognised(old, gone, came).items()}
    return out


def _told_of(here: Here, name: str) -> Told:
    row = here.rows["classes"][name]
    start, end = rules.outer(rules.spans_of(here, row))
    return (*called(here, row), str(start), str(end)) if start and end else ()


def rename(roster: Roster, names: Mapping[User, User]) -> None:
    """Gives published classes other ids: `names` is from the old one to the new one."""
    roster.classes = {names.get(one, one): class_ for one, class_ in roster.classes.items()}
    roster.memberships = {
        (names.get(class_, class_), person, role): dates
        for (class_, person, role), dates in roster.memberships.items()
    }
    roster.holds = {
        (kind, school, class_ and names.get(class_, class_)): hold.renamed(names)
        for (kind, school, class_), hold in roster.holds.items()
    }


def users(tonight: Tonight, before: Roster) -> dict[User, int]:
    """Whom a user under a new id is: "whoever has no e-mail is recognised by identifier and both names, where
    at least five and at least half of a provider's users have new ids"."""
    out: dict[User, int] = {}
    for here in tonight.feeds if before.live else ():
        if here.feed.states["users"] != "ok":
            continue
        old = {name: _told(before.rows[who, name]) for who, name in before.live if who == here.name}
        new = {
            name: _told(here.rows["users"][name])
            for name, fate in here.users.items()
            if not fate and (here.name, name) not in before.links
        }
        for name, was in recognised(old, old.keys() - here.ids["users"], new).items():
            out[here.name, name] = before.links[here.name, was]
    return out


def _told(row: rules.Row) -> Told:
    number = row.get("identifier", "")
    told = (number, row["givenName"], row["familyName"])
    return told if all(told) and "@" not in number else ()


def closed_again(names: Mapping[User, User], roster: Roster, closed: Collection[School]) -> dict[User, User]:
    """Of the new names those of classes whose school stays as it is, back to the old ones."""
    return {
        new: old
        for new, old in names.items()
        if new in roster.classes and roster.classes[new].school in closed
    }

"""What holds over any nights: random changes of two providers, and the invariants after each of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.rosters.changes import KEYS
from roster_pipeline_tests.rosters import Night, Provider, Story, provider, story

HUMANS = [f"s{n}" for n in range(1, 9)] + ["t1", "t2"]
CLASSES = ["c1", "c2"]
STATES = ["unproven", "stale", "failed"]
READ = ["users", "enrollments", "classes"]

# A step is a name and what it is about; all of them are about one provider.
STEP = st.one_of(
    st.tuples(st.just("leave"), st.sampled_from(HUMANS)),
    st.tuples(st.just("come"), st.sampled_from(HUMANS)),
    st.tuples(st.just("enrol"), st.tuples(st.sampled_from(CLASSES), st.sampled_from(HUMANS))),
    st.tuples(st.just("unenrol"), st.tuples(st.sampled_from(CLASSES), st.sampled_from(HUMANS))),
    st.tuples(st.just("end"), st.tuples(st.sampled_from(CLASSES), st.sampled_from(HUMANS))),
    st.tuples(st.just("new id"), st.sampled_from(HUMANS)),
    st.tuples(st.just("new e-mail"), st.sampled_from(HUMANS)),
    st.tuples(st.just("no e-mail"), st.sampled_from(HUMANS)),
    st.tuples(st.just("phone"), st.tuples(st.sampled_from(HUMANS), st.sampled_from(["", "1", "2"]))),
    st.tuples(st.just("drop class"), st.sampled_from(CLASSES)),
    st.tuples(st.just("exclude"), st.booleans()),
    st.tuples(
        st.just("state"),
        st.tuples(st.sampled_from(STATES), st.sampled_from(["users", "enrollments", "classes"])),
    ),
)
NIGHT = st.lists(st.tuples(st.sampled_from([0, 0, 1]), STEP), max_size=4)
NIGHTS = st.lists(NIGHT, min_size=2, max_size=3)


class World:
    """Two providers of the same ten humans; each has a sourcedId that may change."""

    def __init__(self, **options: Any) -> None:
        sis = provider("sis", "", respect_enrolment_date=True).org("south")
        cl = provider("cl", "", **options)
        self.tenant: Story = story(sis, cl)
        self.ids: dict[tuple[int, str], str] = {}
        self.human: dict[tuple[str, str], str] = {}  # (provider, sourcedId) → human
        for place, made in enumerate((sis, cl)):
            for name in CLASSES:
                made.teaches(name)
            for who in HUMANS[:: place + 1]:
                self.come(place, who)
                made.enrol("c1", self.ids[place, who])

    def made(self, place: int) -> Provider:
        return self.tenant.providers[place]

    def come(self, place: int, who: str, name: str = "") -> None:
        name = name or self.ids.get((place, who), who)
        self.ids[place, who] = name
        self.human[self.made(place).name, name] = who
        role = "teacher" if who.startswith("t") else "student"
        orgs = "north south" if who in ("s1", "t2") else "north"
        self.made(place).users(
            name, role=role, given=f"Given-{who}", family=f"Family-{who}", email=f"{who}@north.example",
            grades=["09"], orgs=orgs,
        )  # fmt: skip

    def step(self, place: int, what: str, about: Any) -> None:
        made = self.made(place)
        users = made.rows["users"]
        if what == "exclude":
            made.option(exclude_schools=["South School"] if about and place == 0 else [])
        elif what == "state":
            made.state(*about)
        elif what == "drop class":
            if about in made.rows["classes"]:
                made.gone(about)
            else:
                made.teaches(about)
        elif what == "come":
            self.come(place, about)
        elif what in ("enrol", "unenrol", "end"):
            class_, who = about
            name = self.ids.get((place, who), "")
            key = f"{class_}-{name}"
            there = key in made.rows["enrollments"]
            if what == "enrol" and name in users and class_ in made.rows["classes"] and not there:
                made.enrol(class_, name)
            elif what == "unenrol" and there:
                del made.rows["enrollments"][key]
            elif what == "end" and there:
                made.rows["enrollments"][key]["endDate"] = self.day
        else:
            self.change(place, what, about)

    def change(self, place: int, what: str, about: Any) -> None:
        who, value = about if isinstance(about, tuple) else (about, "")
        made, name = self.made(place), self.ids.get((place, who), "")
        if name not in made.rows["users"]:
            return
        if what == "leave":
            made.gone(name)
        elif what == "new id":
            made.gone(name)
            self.come(place, who, f"{name}x")
        elif what == "phone":
            made.users(name, phone=value)
        else:
            made.users(name, email="" if what == "no e-mail" else f"{name}.{place}@new.example")

    @property
    def day(self) -> str:
        return self.tenant.nights[-1].as_of.isoformat() if self.tenant.nights else "2025-10-15"

    def night(self, steps: list[tuple[int, tuple[str, Any]]]) -> Night:
        for made in self.tenant.providers:
            made.state("ok")
        for place, (what, about) in steps:
            self.step(place, what, about)
        return self.tenant.night()


def links(told: Night) -> list[tuple[str, str, str, bool]]:
    """(provider, sourcedId, person_id, whether live) of every link, removed ones too."""
    frame = told.published.person_sources
    names = {who: name for name, who in told.provider_ids.items()}
    columns = frame["provider_id"], frame["source_id"], frame["person_id"], frame["removed"]
    return [(names[who], user, person, gone == "") for who, user, person, gone in zip(*columns, strict=True)]


def run(nights: list[Any], look: Callable[[World, Night], None], **options: Any) -> World:
    world = World(**options)
    for steps in ([], *nights):
        look(world, world.night(steps))
    return world


OPTIONS = st.fixed_dictionaries(
    {
        "merge": st.fixed_dictionaries(
            {
                "key": st.sampled_from(["email", "email_without_domain"]),
                "attach_to_existing_users_only": st.booleans(),
            }
        )
    }
)


@settings(max_examples=6, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@given(nights=NIGHTS, options=OPTIONS)
def test_whatever_happens_the_invariants_hold(nights: list[Any], options: dict[str, Any]):
    owner: dict[str, str] = {}
    world: World

    def look(world: World, told: Night) -> None:
        told.check()
        for name, user, person, _ in links(told):
            human = world.human[name, user]
            assert owner.setdefault(person, human) == human, "an id was given to somebody else"
        nobody_goes_unproven(told)
        values_are_the_strongest(world, told)

    world = run(nights, look, **options)
    last = world.tenant.nights[-1]
    again = world.tenant.night(last.as_of.isoformat()).check()
    assert again.quiet, {name: change.counts for name, change in again.changed.items()}


def nobody_goes_unproven(told: Night) -> None:
    """Whom a provider had yesterday is as active as before, unless its users and enrolments are complete."""
    for source in told.found.sources:
        if {source.states["users"], source.states["enrollments"]} == {"ok"}:
            continue
        if source.options.merge.attach_to_existing_users_only:
            continue  # such a link never keeps anybody alive
        old = told.before.person_sources
        mine = old[(old["provider_id"] == source.provider_id) & (old["removed"] == "")]
        people = told.before.people
        active = set(people.loc[(people["removed"] == "") & (people["inactive_since"] == ""), "person_id"])
        now = {row["person_id"] for row in told.table("people") if not row["inactive_since"]}
        for person in set(mine["person_id"]) & active:
            heir = told.found.roster.merged.get(person, person)
            assert heir in now, "somebody went although nothing proved it"


def values_are_the_strongest(world: World, told: Night) -> None:
    """A published phone or e-mail is that of the strongest provider that has one for the person tonight."""
    speaking = [source for source in told.found.sources if set(source.states.values()) == {"ok"}]
    if len(speaking) < 2 or "kept" in told.schools.values() or "RS-SAFE-06" in told.codes:
        return
    if world.made(0).options.get("exclude_schools"):
        return
    rows: dict[str, list[dict[str, Any]]] = {}
    for made in world.tenant.providers:  # the strongest first
        dropped = {label for label in made.rows["users"] if told.reason("users", _label(made, label))}
        for name, user, person, live in links(told):
            if live and name == made.name and user in made.rows["users"] and user not in dropped:
                rows.setdefault(person, []).append(made.rows["users"][user])
    waiting = {key for one in told.found.roster.held if one.kind == "people" for key in one.keys}
    for row in told.table("people"):
        if row["inactive_since"] or row["person_id"] not in rows:
            continue
        if (row["person_id"],) in waiting:  # nobody but a link that keeps nobody still brings them
            continue
        for ours, theirs in (("phone", "phone"), ("email", "email"), ("given_name", "givenName")):
            values = [user.get(theirs, "") for user in rows[row["person_id"]]]
            assert row[ours] == next((value for value in values if value), "")


def _label(made: Provider, user: str) -> str:
    return user if made.name == "sis" else f"{made.name}/{user}"


@settings(max_examples=3, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@given(nights=NIGHTS, options=OPTIONS, rng=st.randoms(use_true_random=False))
def test_the_order_of_rows_and_providers_changes_no_roster(nights: list[Any], options: dict[str, Any], rng):
    one = run(nights[:-1], lambda *_: None, **options)
    other = copy.deepcopy(one)
    for made, priority in zip(other.tenant.providers, (100, 50), strict=True):
        made.options["merge"] = {**made.options.get("merge", {}), "priority": priority}
    first = one.night(nights[-1])
    steps = nights[-1]
    for made in other.tenant.providers:
        made.state("ok")
    for place, (what, about) in steps:
        other.step(place, what, about)
    other.tenant.providers.reverse()
    other.tenant.shuffle = rng.shuffle
    second = other.tenant.night()
    for name in KEYS:
        told = [
            sorted(json.dumps(row, sort_keys=True) for row in night.table(name)) for night in (first, second)
        ]
        assert told[0] == told[1], name
    assert (first.status, sorted(first.codes)) == (second.status, sorted(second.codes))

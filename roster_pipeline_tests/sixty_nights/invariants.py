"""The invariants of architecture.md, checked after a night without asking the oracle.

Each function yields what is wrong, in words; `everything` is all of them. What is published is compared
with what was, row by row, with the rows and states that the providers sent.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from roster_pipeline.codes import CATALOGUE
from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.store import database, ledger
from roster_pipeline_tests.oracle.register import FIELDS
from roster_pipeline_tests.oracle.tonight import Feed
from roster_pipeline_tests.sixty_nights.world import CANARIES, World
from roster_pipeline_tests.syncing import Deployment, Document

Snapshot = dict[str, dict[tuple[Any, ...], dict[str, Any]]]
_LEDGER = ("syncs", "sync_providers", "sync_schools", "sync_issues", "sync_outcomes", "decisions", "holds")


def snapshot(here: Deployment, tenant: str) -> Snapshot:
    """Every published row, live or removed, by its key."""
    out: Snapshot = {}
    with here.stores.database.connect() as connection:
        for name, key in KEYS.items():
            rows = connection.execute(
                text(f"SELECT * FROM {name} WHERE tenant = :tenant"), {"tenant": tenant}
            ).mappings()
            out[name] = {tuple(row[column] for column in key): dict(row) for row in rows}
    return out


def live(table: dict[tuple[Any, ...], dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows that are not removed."""
    return {key: row for key, row in table.items() if row["removed_at"] is None}


@dataclass
class Ids:
    """Who and which class every id has stood for."""

    humans: dict[str, int] = field(default_factory=dict)  # person_id → human
    persons: dict[int, str] = field(default_factory=dict)  # of the oracle → person_id
    classes: dict[str, str] = field(default_factory=dict)


@dataclass
class Night:
    """What the invariants are about."""

    here: Deployment
    world: World
    feeds: dict[str, Feed]
    provider_ids: dict[str, int]
    before: Snapshot
    after: Snapshot
    document: Document
    told: list[Any]  # by the steps of the sync
    ids: Ids

    @property
    def names(self) -> dict[int, str]:
        """The name of each provider and directory by its id."""
        return {who: name for name, who in self.provider_ids.items()}


def everything(night: Night) -> list[str]:
    """What is wrong after a night, of invariants 1, 3, 4, 6, 8 and 9; the others compare two nights."""
    checks = (
        nothing_unproven_goes, counts_add_up, ids_stay, nothing_personal_is_told, every_trouble_has_a_code,
        no_weaker_value_wins,
    )  # fmt: skip
    return [f"{check.__name__}: {what}" for check in checks for what in check(night)]


def nothing_unproven_goes(night: Night) -> Iterator[str]:
    """1. Removing people, and their links, needs users and enrollments `ok`; a class its classes."""
    before, after = (
        {name: live(table) for name, table in one.items()} for one in (night.before, night.after)
    )

    def is_proven(provider_id: int, *collections: str) -> bool:
        feed = night.feeds.get(night.names.get(provider_id, ""))
        return feed is None or all(feed.states[name] == "ok" for name in collections)

    for key in before["classes"].keys() - after["classes"].keys():
        if not is_proven(before["classes"][key]["provider_id"], "classes"):
            yield f"class {key} has gone"
    sources = defaultdict(set)
    for row in before["person_sources"].values():
        sources[row["person_id"]].add(row["provider_id"])
    attaching = {
        night.provider_ids[name] for name, feed in night.feeds.items()
        if feed.options.merge.attach_to_existing_users_only
    }  # fmt: skip
    gone: set[str] = set()
    for key, row in before["people"].items():
        now = night.after["people"][key]
        if now["removed_at"] is not None or (now["inactive_since"] and not row["inactive_since"]):
            gone.add(row["person_id"])
            keeping = sources[row["person_id"]] - attaching
            if not now["merged_into"] and not all(is_proven(one, "users", "enrollments") for one in keeping):
                yield f"person {row['person_id']} has gone"
    for key in before["memberships"].keys() - after["memberships"].keys():
        row = before["memberships"][key]
        stays = (row["class_id"],) in after["classes"] and row["person_id"] not in gone
        if stays and not is_proven(row["provider_id"], "classes", "users", "enrollments"):
            yield f"membership {key} has gone"
    for key in before["guardian_links"].keys() - after["guardian_links"].keys():
        row = before["guardian_links"][key]
        both = {row["student_id"], row["guardian_id"]}
        if not both & gone and not is_proven(row["provider_id"], "users", "enrollments"):
            yield f"guardian link {key} has gone"


def counts_add_up(night: Night) -> Iterator[str]:
    """3. Rows read = kept + dropped, each with a reason; people = matched + created + unmatched."""
    outcomes: dict[str, set[str]] = defaultdict(set)
    for told in night.document["providers"]:
        feed = night.feeds[told["name"]]
        for name, counted in told["collections"].items():
            if counted["state"] != feed.states[name]:
                yield f"{name} of {told['name']} is {counted['state']}, not {feed.states[name]}"
            if counted["read"] != counted["kept"] + sum(counted["dropped"].values()):
                yield f"{name} of {told['name']}: {counted}"
            if not all(counted["dropped"]):
                yield f"{name} of {told['name']} dropped without a reason"
        outcomes[told["name"]] = set(told["outcomes"])
    with night.here.stores.database.connect() as connection:
        active = connection.execute(
            text("SELECT count(*) FROM current_people WHERE tenant = :t AND inactive_since IS NULL"),
            {"t": night.document["tenant"]},
        ).scalar()
    if night.document["status"] != "failed" and night.document["counts"]["people"] != active:
        yield f"{night.document['counts']['people']} people are told, {active} are there"
    for kind, told in night.document["changes"].items():
        removed = len(live(night.before[kind]).keys() - live(night.after[kind]).keys())
        added = len(live(night.after[kind]).keys() - live(night.before[kind]).keys())
        if (told["added"], told["removed"]) != (added, removed):
            yield f"{kind}: told {told}, added {added}, removed {removed}"


def ids_stay(night: Night) -> Iterator[str]:
    """4. A person's id never changes and is never given to somebody else; nor is a class's."""
    names = night.names
    people: dict[str, set[int]] = defaultdict(set)
    for row in live(night.after["person_sources"]).values():
        user = names[row["provider_id"]], row["source_id"]
        if user in night.world.humans:
            people[row["person_id"]].add(night.world.humans[user])
        elif user[0] == night.world.directory.name:
            people[row["person_id"]].add(int(user[1].removeprefix("login-")))
    for person, humans in people.items():
        known = night.ids.humans.setdefault(person, min(humans))
        if humans != {known}:
            yield f"person {person} was {known} and is {sorted(humans)}"
    for row in live(night.after["classes"]).values():
        lesson = night.world.lessons[names[row["provider_id"]], row["source_id"]]
        if night.ids.classes.setdefault(row["class_id"], lesson) != lesson:
            yield f"class {row['class_id']} was {night.ids.classes[row['class_id']]} and is {lesson}"
    for name in KEYS:
        if missing := night.before[name].keys() - night.after[name].keys():
            yield f"{len(missing)} rows of {name} are not there any more, not even removed"


def nothing_personal_is_told(night: Night) -> Iterator[str]:
    """6. No name, address or number in the report, in what the steps tell Dagster, or in the ledger."""
    texts = {"the report": json.dumps(night.document), "the steps": json.dumps(night.told, default=str)}
    with night.here.stores.database.connect() as connection:
        for name in _LEDGER:
            rows = connection.execute(database.metadata.tables[name].select()).all()
            texts[f"table {name}"] = repr(rows)
    for where, found in texts.items():
        if any(canary in found for canary in CANARIES):
            yield f"{where} has personal data"


def every_trouble_has_a_code(night: Night) -> Iterator[str]:
    """8. Every sync that is not plainly successful says why, the same in the report and in the ledger."""
    document = night.document
    codes = [issue["code"] for issue in document["issues"]]
    if document["status"] not in ("successful", "partial", "failed"):
        yield f"status {document['status']}"
    if document["status"] != "successful" and not codes:
        yield f"{document['status']} without a code"
    if unknown := {*codes} - {*CATALOGUE}:
        yield f"codes {unknown} are not in the catalogue"
    if "RS-RUN-99" in codes:
        yield "RS-RUN-99"
    with night.here.stores.database.connect() as connection:
        (stored,) = ledger.past(connection, document["tenant"], limit=1)
        (short,) = ledger.latest(connection, document["tenant"], limit=1)
        rows = connection.execute(
            text("SELECT code, message, cure FROM sync_issues WHERE sync_id = :sync ORDER BY place"),
            {"sync": document["sync_id"]},
        ).all()
    if stored != document:
        yield "the ledger has another report"
    if [tuple(row) for row in rows] != [(i["code"], i["message"], i["cure"]) for i in document["issues"]]:
        yield "the ledger has other issues"
    if short["code"] != ("" if document["status"] == "successful" else codes[0]):
        yield f"the ledger tells {short['code']} first"


def no_weaker_value_wins(night: Night) -> Iterator[str]:
    """9. A source's values never overwrite a stronger source's; of people whose schools are all published.

    Not where values vanished or e-mail addresses are the directory's: those have rules of their own.
    """
    kept = {one["school_id"] for one in night.document["schools"] if one["state"] != "published"}
    if night.document["status"] == "failed" or any(
        i["code"] == "RS-SAFE-06" for i in night.document["issues"]
    ):
        return
    strongest = sorted(night.feeds.values(), key=lambda feed: -(feed.options.merge.priority or 0))
    sent = {(feed.name, row["sourcedId"]): row for feed in strongest for row in feed.rows["users"]}
    users = defaultdict(list)
    for row in live(night.after["person_sources"]).values():
        users[row["person_id"]].append((night.names[row["provider_id"]], row["source_id"]))
    for (person,), row in live(night.after["people"]).items():
        if row["inactive_since"] or {one["school_id"] for one in json.loads(row["roles"])} & kept:
            continue
        for field_, column in FIELDS.items():
            said = [
                value
                for feed in strongest
                for user in users[person]
                if user[0] == feed.name and user in sent and (value := sent[user][column])
            ]
            if field_ == "email" and any(name not in night.feeds for name, _ in users[person]):
                continue
            now = json.loads(row[field_] or "[]") if field_ == "grades" else row[field_] or ""
            if len(said) > 1 and now != said[0] and now in said[1:]:
                yield f"{field_} of {person} is a weaker source's"

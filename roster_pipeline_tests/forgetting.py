"""Somebody of a random roster is erased: what must hold then, everywhere, and after the next sync.

Here belongs the world (two providers and a directory) and `prove`, which erases one of its people
and looks at every row and byte. The tests take a few seeds; `python -m roster_pipeline_tests.forgetting N`
takes N of them.
"""

from __future__ import annotations

import copy
import csv
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
from sqlalchemy import select

from roster_pipeline import forgetting
from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.source import Row, Tables, write_csv
from roster_pipeline.store import database, receipts
from roster_pipeline_tests.syncing import Deployment, Document, changed, codes, csv_provider, deployment

TENANT: Final = "oak"
SHORTEST: Final = 5
"""Shorter values say nothing of a person by themselves, and stand in anything."""


def now() -> datetime:
    """The time, for receipts and leases."""
    return datetime.now(UTC)


@dataclass
class World:
    """A tenant of two providers and a directory.

    Attributes:
        tables: Provider → what it sends.
        logins: The directory's rows.
    """

    place: Deployment
    sources: Path
    rng: random.Random
    tables: dict[str, Tables]
    logins: list[dict[str, str]]

    def write(self) -> None:
        """Writes the sources' files anew."""
        for name, tables in self.tables.items():
            write_csv(tables, self.sources / name)
        with (self.sources / "logins.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["id", "email", "given_name", "family_name", "role"])
            writer.writeheader()
            writer.writerows(self.logins)

    def apply(self) -> None:
        """Stores the tenant's document."""
        parents: dict[str, Any] = {"sync_parent_data": True, "relationship_type": "guardian"}
        self.place.apply(
            TENANT,
            csv_provider(self.sources / "sis", name="sis", merge={"priority": 20}, **parents),
            csv_provider(self.sources / "portal", name="portal", merge={"priority": 10}, **parents),
            directories=[{"name": "logins", "kind": "csv", "path": str(self.sources / "logins.csv")}],
        )

    def night(self) -> Document:
        """A sync: always of one day, so that a quiet one changes nothing at all."""
        return self.place.sync(TENANT, DAY)

    def forget(self, who: str) -> tuple[forgetting.Meant, int]:
        """Erases somebody; whom that meant, and the receipt's number."""
        stores = self.place.stores
        with forgetting.alone_with(stores, TENANT, now) as lease:
            meant = forgetting.find(stores, TENANT, who)
            number = forgetting.forget(stores, TENANT, meant, lease, who="tests", why="asked for", now=now())
        return meant, number

    def lift(self, receipt: int) -> None:
        """Lets those of a receipt come back."""
        with self.place.stores.database.begin() as connection:
            receipts.lift(connection, TENANT, receipt, now())


@contextmanager
def world(folder: Path, seed: int, database_url: str = "", students: int = 0) -> Iterator[World]:
    """A district that two providers and a directory know, each in its own way; not yet synced."""
    rng = random.Random(seed)
    district = generate(students or rng.randint(6, 24), seed=seed, left=0)
    sis = copy.deepcopy(district.tables)
    for row in sis["users"]:
        row["identifier"] = f"number-{row['sourcedId']}"
    portal = copy.deepcopy(sis)
    users = rng.sample(portal["users"], k=len(portal["users"]) * 3 // 4)
    names = {row["sourcedId"]: f"portal-{row['sourcedId']}" for row in users}
    for row in users:
        row |= {"sourcedId": names[row["sourcedId"]], "identifier": f"other-{row['sourcedId']}"}
        row["agents"] = [names[agent] for agent in row.get("agents", []) if agent in names]
    portal["users"] = users
    portal["enrollments"] = [
        row | {"sourcedId": f"portal-{row['sourcedId']}", "user": names[row["user"]]}
        for row in portal["enrollments"]
        if row["user"] in names
    ]
    logins = [
        {"id": f"login-{row['sourcedId']}", "email": row.get("email", ""), "given_name": row["givenName"],
         "family_name": row["familyName"], "role": ""}
        for row in rng.sample(sis["users"], k=len(sis["users"]) // 3)
    ]  # fmt: skip
    with deployment(folder / "home", database_url) as place:
        found = World(place, folder / "sources", rng, {"sis": sis, "portal": portal}, logins)
        found.write()
        found.apply()
        yield found


# ------------------------------------------------------------------------------ what must hold


def everything(place: Deployment) -> dict[str, str]:
    """Place → all that stands there: the rows of every table, every file, and its bytes."""
    found: dict[str, str] = {}
    with place.stores.database.connect() as connection:
        for table in database.metadata.sorted_tables:
            rows = connection.execute(select(table)).all()
            found[f"table {table.name}"] = "\n".join(json.dumps(list(row), default=str) for row in rows)
    for path in sorted(place.home.folder.rglob("*")):
        if not path.is_file():
            continue
        name, content = path.relative_to(place.home.folder), path.read_bytes()
        if path.suffix == ".parquet":  # what is compressed says by chance what nobody wrote
            found[f"rows of {name}"] = json.dumps(pq.read_table(path).to_pydict(), ensure_ascii=False)
            content = content[-8 - int.from_bytes(content[-8:-4], "little") :]  # its footer, with statistics
        found[f"bytes of {name}"] = content.decode("latin-1")
    return found


def spoken_of(place: Deployment, words: set[str]) -> list[tuple[str, str]]:
    """Where any of the words stands."""
    forms = {word: {word, json.dumps(word)[1:-1], word.encode().decode("latin-1")} for word in words}
    return [
        (where, word)
        for where, text in everything(place).items()
        for word, ways in forms.items()
        if any(way in text for way in ways)
    ]


def rows_of_others(place: Deployment, meant: forgetting.Meant) -> dict[str, set[tuple[Any, ...]]]:
    """Every row of the published tables, with all bookkeeping, that does not name the human."""
    theirs = meant.human.people | {user for _, user in meant.human.users}
    found = {}
    with place.stores.database.connect() as connection:
        for table in database.PUBLISHED:
            rows = {tuple(row) for row in connection.execute(select(table))}
            named = (*meant.human.people, *theirs)
            found[table.name] = {row for row in rows if not any(value in named for value in row)}
    return found


def adds_up(document: Document) -> bool:
    """Whether rows read are rows kept and dropped."""
    return all(
        told["read"] == told["kept"] + sum(told["dropped"].values())
        for provider in document["providers"]
        for told in provider["collections"].values()
    )


def dropped(document: Document, collection: str = "users") -> int:
    """How many rows were left out as forgotten ones."""
    return sum(
        provider["collections"][collection]["dropped"].get("forgotten", 0)
        for provider in document["providers"]
    )


def _values(row: Row | dict[str, str]) -> set[str]:
    said = {str(value) for value in row.values() if isinstance(value, str)}
    return {value for value in said if len(value) >= SHORTEST}


def prove(folder: Path, seed: int, database_url: str = "") -> str:
    """Erases somebody at random; raises AssertionError for what should not be. Gives what kind they were."""
    with world(folder, seed, database_url) as here:
        first = here.night()
        assert first["status"] == "successful", first["issues"]
        rng = here.rng
        victim = rng.choice(here.tables["sis"]["users"])
        before_change = dict(victim)
        if rng.random() < 0.5:  # an older address of theirs stands in what was written before
            victim["email"] = f"another-{rng.randint(10**6, 10**7)}@address.example"
            here.write()
        second = here.night()
        assert second["status"] == "successful"

        key, stores = victim["sourcedId"], here.place.stores
        with forgetting.alone_with(stores, TENANT, now):
            meant = forgetting.find(stores, TENANT, f"sis/{key}")
        before = rows_of_others(here.place, meant)
        # A row that no link and no value ties to them is somebody else's for all that anybody knows.
        theirs = {user for _, user in meant.human.users}
        everybody = [row for tables in here.tables.values() for row in tables["users"]] + here.logins
        rows = [row for row in everybody if row.get("sourcedId", row.get("id")) in theirs]
        others = [json.dumps(row, ensure_ascii=False) for row in everybody if row not in rows]
        rows.append(before_change)
        values = {value for row in rows for value in _values(row)}
        own = {value for value in values if not any(value in other for other in others)}
        assert own
        assert spoken_of(here.place, own), "the search finds them while they are there"

        meant, receipt = here.forget(f"sis/{key}")
        own |= meant.human.people
        found = spoken_of(here.place, own)
        assert found == [], (seed, found[:5])
        assert rows_of_others(here.place, meant) == before

        third = here.night()
        assert third["status"] == second["status"], third["issues"]
        assert adds_up(third)
        assert dropped(third) >= 1
        assert "RS-IDN-11" in codes(third)
        assert set(codes(third)) - set(codes(second)) <= {"RS-IDN-11"}, codes(third)
        found = spoken_of(here.place, own)
        assert found == [], (seed, found[:5])
        _only_guardians_changed(before, rows_of_others(here.place, meant), meant.alone)

        fourth = here.night()
        assert changed(fourth) == {}
        here.lift(receipt)
        fifth = here.night()
        assert dropped(fifth) == 0
        with stores.database.connect() as connection:
            links = select(database.person_sources.c.person_id).where(
                database.person_sources.c.source_id == key
            )
            back = set(connection.execute(links).scalars())
        assert len(back) == len(meant.human.people), "who was published is again"
        assert not back & meant.human.people, "a new person, with a new id"
        return "/".join(sorted({entry[0] for entry in victim["roles"]}))


def _only_guardians_changed(
    before: dict[str, set[tuple[Any, ...]]], after: dict[str, set[tuple[Any, ...]]], alone: tuple[str, ...]
) -> None:
    """The next sync turns the guardians inactive who have no student any more, and changes nothing else.

    Not what tells where a guardian's values come from either, but for a row whose only student was theirs.
    """
    for name in before.keys() - {"person_sources"}:
        changed = before[name] ^ after[name]
        assert {row for row in changed if not set(alone) & set(row)} == set(), name


def main() -> None:
    """Takes as many seeds as the argument says."""
    count, started = int(sys.argv[1]) if sys.argv[1:] else 20, time.monotonic()
    kinds: dict[str, int] = {}
    for seed in range(1, count + 1):
        with tempfile.TemporaryDirectory() as folder:
            print(f"seed {seed}", flush=True)
            kind = prove(Path(folder), seed)
        kinds[kind] = kinds.get(kind, 0) + 1
    print(f"{count} people erased in {time.monotonic() - started:.0f} s: {kinds}")


if __name__ == "__main__":
    main()

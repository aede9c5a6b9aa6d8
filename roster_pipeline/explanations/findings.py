"""Reads what both stores hold of a tenant, for `explanation`: who or what fits, and what is known.

Nothing is fetched, decided or written. Of the newest sync that got that far the lake has the tables between
the assets and the extracts behind them; the database has what is published and the ledger.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from sqlalchemy import Table, or_, select

from roster_pipeline.codes import CodedError, Issue
from roster_pipeline.explanations.known import Key, Known, Row
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS, DIRECTORY_COLUMNS
from roster_pipeline.rosters import completeness, current, identities, outcome, rows, schools, sessions
from roster_pipeline.rosters.current import Current
from roster_pipeline.rosters.identities import Identities
from roster_pipeline.rosters.schools import Schools
from roster_pipeline.rosters.sessions import Sessions
from roster_pipeline.rosters.source import Source, State
from roster_pipeline.store import database as db
from roster_pipeline.store import ledger
from roster_pipeline.tenants import registry
from roster_pipeline.tenants.document import Provider

if TYPE_CHECKING:
    from roster_pipeline.store.home import Stores
    from roster_pipeline.store.lake import Lake

_USER_WORDS: Final[Sequence[str]] = ("sourcedId", "email", "username", "identifier")
_DIRECTORY_WORDS: Final[Sequence[str]] = ("id", "email")
_PEOPLE_WORDS: Final = ("person_id", "email", "username", "identifier")
_CLASS_WORDS: Final = ("class_id", "source_id", "title", "class_code")
_NEAR: Final = 5
_DIRECTORY: Final = "people"


@dataclass(frozen=True, slots=True)
class Subject:
    """One human who fits: the person ("" for nobody's user), and the users that are or were theirs."""

    person_id: str
    users: tuple[Key, ...]


class NobodyFitsError(CodedError):
    """Nobody, or no class, fits what was asked for.

    `near` are spellings to try instead. They may be addresses of people: they go to whoever asked, on
    stdout, and not into the message.
    """

    def __init__(self, code: str, message: str, near: tuple[str, ...]) -> None:
        """A code of the catalogue, and a message without personal data."""
        super().__init__(code, message)
        self.near = near


class Findings:
    """What is known of one tenant; read when it is first asked for."""

    def __init__(self, stores: Stores, tenant: str) -> None:
        """Finds the tenant and its newest sync.

        Raises:
            CodedError: RS-CFG-08 for an unknown tenant, RS-RUN-09 where none was ever synced.
        """
        self._lake, self._database = stores.lake, stores.database
        with self._database.connect() as connection:
            self.registered = registry.get(connection, tenant)
            self.sync = ledger.newest(connection, tenant)
            self._days = ledger.days(connection, tenant)
        self.tenant = tenant
        if self.sync is None:
            raise CodedError("RS-RUN-09", f"{tenant} was never synced: nothing is known of it.")
        merged = self._lake.facts(tenant, "merged_identities")
        reads = merged["reads"] if merged else {}
        self._merged = merged or {}
        self._enrolled = self._facts("current_enrolments", reads)
        self._sessions = self._facts("current_sessions", reads)

    @property
    def rules_of(self) -> int | None:
        """The sync whose tables the rules left; not always the newest one that ended."""
        return self._merged.get("sync_id")

    @property
    def changed_since(self) -> dt.datetime | None:
        """When the tenant's document was changed, if that was after the newest sync began."""
        if self.sync is None:
            return None
        started = dt.datetime.fromisoformat(self.sync["started_at"])
        # The ledger tells whole seconds: one that was applied in the same second came before.
        applied = self.registered.applied_at
        return applied if applied >= started + dt.timedelta(seconds=1) else None

    # ------------------------------------------------------------------ who and what fits

    def people(self, who: str) -> list[Subject]:
        """Everybody whom an e-mail, a username, an identifier, a sourcedId or a person_id names.

        Raises:
            NobodyFitsError: RS-IDN-10.
        """
        provider, word = self._scoped(who)
        keys: dict[Key, None] = {}
        persons: dict[str, None] = {}
        for source in self._sources:
            if provider is None or provider == source.provider_id:
                frame = source.frames["users"]
                words = _USER_WORDS if provider is None else _USER_WORDS[:1]
                keys |= dict.fromkeys((source.provider_id, one) for one in _fitting(frame, words, word))
        for directory, frame in self._directories.items():
            if provider is None or provider == directory:
                words = _DIRECTORY_WORDS if provider is None else _DIRECTORY_WORDS[:1]
                keys |= dict.fromkeys((directory, one) for one in _fitting(frame, words, word))
        for table in (db.person_sources, db.sync_outcomes):
            for row in self._read(table, source_id=[word]):
                if provider is None or int(row["provider_id"]) == provider:
                    keys[int(row["provider_id"]), row["source_id"]] = None
        if provider is None:
            persons |= dict.fromkeys(row["person_id"] for row in self._read_people(word))
        subjects: dict[Subject, None] = {}
        for key in keys:
            person = self._owner(key)
            if person:
                persons[person] = None
            else:
                subjects[Subject("", (key,))] = None
        for person in persons:
            subjects |= dict.fromkeys(self._subjects(person))
        if not subjects:
            near = tuple(self._near(who, self._spellings()))
            message = (
                f"Nobody of {self.tenant} has this e-mail, username, identifier or id; names are not "
                f"searched.{self._unread()}"
            )
            raise NobodyFitsError("RS-IDN-10", message, near)
        return list(subjects)

    def classes(self, which: str) -> list[str]:
        """The class_ids of all classes that a class_id, a sourcedId, a class code or a title names.

        Raises:
            NobodyFitsError: RS-REF-06.
        """
        provider, word = self._scoped(which)
        found: dict[str, None] = {}
        frame = self._tables["sessions"]["classes"]
        usable = frame[~rows.among(frame["reason"], {rows.NO_ID, rows.DUPLICATE})]
        for row in [*self._classes.values(), *rows.records(usable)]:
            if provider is not None and int(row["provider_id"] or 0) != provider:
                continue
            if word in [row[name] for name in (_CLASS_WORDS if provider is None else ("source_id",))]:
                found[row["class_id"]] = None
        if not found:
            words = {row[name]: row[name] for name in _CLASS_WORDS[1:] for row in rows.records(usable)}
            words |= {row[name]: row[name] for name in _CLASS_WORDS[1:] for row in self._classes.values()}
            near = tuple(self._near(which, words))
            message = f"No class of {self.tenant} fits what was asked for.{self._unread()}"
            raise NobodyFitsError("RS-REF-06", message, near)
        return list(found)

    def _unread(self) -> str:
        """Which providers could not be used: what is asked for may be theirs."""
        troubled = [source for source in self._sources if not source.usable]
        told = [
            " ".join(
                [source.name, *(f"({issue['code']})" for issue in self._trouble[source.provider_id][:1])]
            )
            for source in troubled
        ]
        return f" Could not be used in the last sync: {', '.join(told)}." if told else ""

    def _scoped(self, word: str) -> tuple[int | None, str]:
        """(provider_id, sourcedId) of `provider/sourcedId`; (None, the word) of anything else."""
        name, slash, rest = word.strip().partition("/")
        who = {name: who for who, name in self.registered.names.items()}.get(name)
        return (who, rest) if slash and who is not None else (None, word.strip())

    def _subjects(self, person: str) -> Iterator[Subject]:
        """The person with all users, and the one whom they were joined into."""
        record = next(iter(self._read(db.people, person_id=[person])), None)
        if record is not None and record["merged_into"]:
            yield Subject(person, ())
            yield from self._subjects(record["merged_into"])
            return
        keys = {key for key, owner in self._owners.items() if owner == person}
        remembered = self._read(db.person_sources, person_id=[person])
        keys |= {
            (int(row["provider_id"]), row["source_id"])
            for row in remembered
            if self._owners.get((int(row["provider_id"]), row["source_id"]), person) == person
        }
        yield Subject(person, tuple(sorted(keys)))

    def _owner(self, key: Key) -> str:
        if key in self._owners:
            return self._owners[key]
        links = self._read(db.person_sources, source_id=[key[1]])
        return next((str(row["person_id"]) for row in links if int(row["provider_id"]) == key[0]), "")

    @cached_property
    def _owners(self) -> dict[Key, str]:
        found = self._tables["identities"]
        links = rows.keys(found["links"], "provider_id", "source_id", "person_id")
        outcomes = rows.keys(found["outcomes"], "provider_id", "source_id", "person_id")
        owners = {(who, user): person for who, user, person in links}
        return owners | {(who, user): person for who, user, person in outcomes if person}

    def _spellings(self) -> dict[str, str]:
        """What somebody may have meant → what to ask for: addresses, ids and names."""
        found: dict[str, str] = {}
        for source in self._sources:
            frame = source.frames["users"]
            for given, family, user, *words in rows.keys(frame, "givenName", "familyName", *_USER_WORDS):
                found.setdefault(f"{given} {family}".strip(), f"{source.name}/{user}")
                found |= {word: word for word in (user, *words)}
        for row in self._read(db.people):
            found |= {row[name]: row[name] for name in _PEOPLE_WORDS}
        return found

    def _near(self, word: str, spellings: dict[str, str]) -> Iterable[str]:
        """Spellings that differ by letter case alone, else those that look alike."""
        folded = word.strip().casefold()
        by_fold: dict[str, dict[str, None]] = {}
        for text, ask in spellings.items():
            if text:
                by_fold.setdefault(text.casefold(), {})[ask] = None
        if folded in by_fold:
            return list(by_fold[folded])[:_NEAR]
        near = difflib.get_close_matches(folded, by_fold, n=_NEAR, cutoff=0.8)
        return list(dict.fromkeys(ask for text in near for ask in by_fold[text]))[:_NEAR]

    # ------------------------------------------------------------------ what is known

    def known(self, people: Iterable[Subject], classes: Iterable[str]) -> Known:
        """Everything that the stories of these people and classes look at."""
        asked, class_ids = list(people), set(classes)
        persons = {subject.person_id for subject in asked} - {""}
        users = {key for subject in asked for key in subject.users}
        tables = self._tables
        members = self._read(db.memberships, class_id=class_ids)
        theirs = self._read(db.memberships, person_id=persons)
        members += [row for row in theirs if row["class_id"] not in class_ids]
        links = self._read(db.guardian_links, student_id=persons)
        links += self._read(db.guardian_links, guardian_id=persons)
        enrolments = tables["enrolments"]["enrolments"]
        here = enrolments[rows.among(enrolments["class_id"], class_ids - {""})]
        named = persons | {row["person_id"] for row in members}
        named |= {row[side] for row in links for side in ("student_id", "guardian_id")}
        in_class = set(rows.keys(here, "provider_id", "user_ref"))
        named |= {self._owners[key] for key in in_class if key in self._owners}
        outcomes = tables["identities"]["outcomes"]
        for who, user, candidates in rows.keys(outcomes, "provider_id", "source_id", "candidates"):
            if candidates and (who, user) in users | in_class:
                named |= set(rows.parse_list(candidates))
        found = self._read(db.people, person_id=named)
        named |= {row["merged_into"] for row in found if row["merged_into"]}
        remembered = self._read(db.sync_outcomes, source_id={user for _, user in users | in_class})
        return Known(
            tenant=self.registered.tenant,
            names=self.registered.names,
            as_of=self._merged.get("as_of") or str((self.sync or {})["as_of"]),
            sync=self.sync,
            sources=self._sources,
            schools=Schools(tables["sessions"]["orgs"]),
            sessions=Sessions(
                tables["sessions"]["sessions"],
                tables["sessions"]["courses"],
                tables["sessions"]["classes"],
                tables["sessions"]["calendars"],
            ),
            current=Current(tables["enrolments"]["users"], enrolments),
            states=tables["identities"]["schools"],
            identities=Identities(
                tables["identities"]["people"],
                tables["identities"]["links"],
                outcomes,
                tables["identities"]["guardians"],
                tables["identities"]["merged"],
                {(int(who), user): why for who, user, why in self._merged.get("dropped", ())},
            ),
            published={
                "people": self._read(db.people, person_id=named),
                "memberships": members,
                "guardian_links": links,
                "person_sources": self._read(db.person_sources, source_id={user for _, user in users}),
                "classes": list(self._classes.values()),
                "schools": self._read(db.schools),
                "academic_sessions": self._read(db.academic_sessions),
            },
            extracted={
                (who, name): read
                for who, frames in self._frames.items()
                for name in COLLECTIONS
                if (read := frames.sync_id(name)) is not None
            },
            by_changes={
                (int(who), name)
                for who, entry in self._extracts.items()
                for name, found in entry["collections"].items()
                if found.get("how") == "delta"
            },
            remembered=remembered,
            trouble=self._trouble,
            days=self._days,
        )

    @cached_property
    def _classes(self) -> dict[str, Row]:
        return {row["class_id"]: row for row in self._read(db.classes)}

    def _facts(self, asset: str, reads: dict[str, int]) -> dict[str, Any]:
        return (self._lake.facts(self.tenant, asset, reads[asset]) if asset in reads else None) or {}

    @cached_property
    def _tables(self) -> dict[str, dict[str, pd.DataFrame]]:
        """The tables between the assets, empty ones where no sync got that far."""
        empty = {
            "sessions": {
                "orgs": schools.COLUMNS, "sessions": sessions.SESSION_COLUMNS,
                "courses": sessions.COURSE_COLUMNS, "classes": sessions.CLASS_COLUMNS,
                "calendars": ["school_id", "newest_end", "current"],
            },
            "enrolments": {"users": current.USER_COLUMNS, "enrolments": current.ENROLMENT_COLUMNS},
            "identities": {
                "schools": completeness.COLUMNS, "people": identities.PEOPLE_COLUMNS,
                "links": identities.LINK_COLUMNS, "outcomes": identities.OUTCOME_COLUMNS,
                "guardians": identities.GUARDIAN_COLUMNS, "merged": identities.MERGED_COLUMNS,
            },
        }  # fmt: skip
        out = {}
        for part, asset, facts in (
            ("sessions", "current_sessions", self._sessions),
            ("enrolments", "current_enrolments", self._enrolled),
            ("identities", "merged_identities", self._merged),
        ):
            read = self._lake.read(self.tenant, asset, facts) if facts else {}
            out[part] = {
                # Tables of an earlier release may lack a column.
                name: read[name].reindex(columns=columns, fill_value="")
                if name in read
                else rows.stacked([], columns)
                for name, columns in empty[part].items()
            }
        return out

    @cached_property
    def _extracts(self) -> dict[str, Any]:
        """provider_id → what the rules' tables were made of; without tables, the newest extracts."""
        if self._sessions:
            return {**self._sessions["raw"]["providers"], **self._merged.get("directories", {})}
        kinds = {provider.kind for provider in self.registered.tenant.providers} | {registry.DIRECTORY}
        facts = [self._lake.facts(self.tenant, f"raw_{kind}") for kind in sorted(kinds)]
        return {who: entry for found in facts if found for who, entry in found["providers"].items()}

    @cached_property
    def _sources(self) -> list[Source]:
        """The tenant's providers, with the options that held when the newest sync published."""
        then = self._options() if self.changed_since else {}
        out = []
        for strength, options in enumerate(self.registered.tenant.strongest_first):
            who = self.registered.provider_ids[options.name]
            found = self._extracts.get(str(who), {"collections": {}})["collections"]
            states: dict[str, State] = {
                name: found.get(name, {"state": "failed"})["state"] for name in COLLECTIONS
            }
            before = then.get(str(who))
            if before is not None:
                options = replace_options(options, before)
            out.append(Source(who, options.name, strength, options, states, self._frames[who]))
        return out

    @cached_property
    def _frames(self) -> dict[int, _LastExtracted]:
        """provider_id → its rows as last read."""
        return {
            who: _LastExtracted(
                self._lake, self.tenant, who, self._extracts.get(str(who), {"collections": {}})["collections"]
            )
            for who in self.registered.provider_ids.values()
        }

    def _options(self) -> dict[str, Any]:
        with self._database.connect() as connection:
            query = select(db.registers.c.options).where(db.registers.c.tenant == self.tenant)
            text = connection.execute(query).scalar()
        found: dict[str, Any] = json.loads(text or "{}")
        return found

    @cached_property
    def _directories(self) -> dict[int, pd.DataFrame]:
        named = (directory.name for directory in self.registered.tenant.directories)
        return {
            who: self._frames[who][_DIRECTORY] for who in map(self.registered.provider_ids.__getitem__, named)
        }

    @cached_property
    def _trouble(self) -> dict[int, list[dict[str, Any]]]:
        """What went wrong in reading each provider; one that is new since the sync was not in it."""
        out: dict[int, list[dict[str, Any]]] = {}
        for source in self._sources:
            entry = self._extracts.get(str(source.provider_id))
            if entry is None:
                out[source.provider_id] = [{"code": None, "message": "it was not part of that sync"}]
            else:
                found = [Issue(**issue) for issue in entry["issues"]]
                worst = outcome.ordered(issue for issue in found if issue.code != "RS-SAFE-05")
                out[source.provider_id] = [issue.as_json() for issue in worst]
        return out

    # ------------------------------------------------------------------ reading

    def _read(self, table: Table, **among: Iterable[str]) -> list[Row]:
        """The tenant's rows whose columns have one of the values; as texts, "" for null."""
        query = select(table).where(table.c.tenant == self.tenant)
        for name, values in among.items():
            query = query.where(table.c[name].in_(sorted(values)))
        with self._database.connect() as connection:
            return [_as_text(row) for row in connection.execute(query).mappings()]

    def _read_people(self, word: str) -> list[Row]:
        query = select(db.people).where(
            db.people.c.tenant == self.tenant, or_(*(db.people.c[name] == word for name in _PEOPLE_WORDS))
        )
        with self._database.connect() as connection:
            return [_as_text(row) for row in connection.execute(query).mappings()]


class _LastExtracted(dict[str, pd.DataFrame]):
    """One provider's rows as last read: of a collection that failed, those of its last complete extract."""

    def __init__(self, lake: Lake, tenant: str, provider_id: int, found: dict[str, Any]) -> None:
        super().__init__()
        self._lake, self._tenant, self._provider_id, self._found = lake, tenant, provider_id, found

    def sync_id(self, collection: str) -> int | None:
        """The sync that read the rows; None if none ever did."""
        entry = self._found.get(collection)
        if entry is None or entry["state"] == "failed":
            entry = self._lake.complete(self._tenant, self._provider_id).get(collection)
        return int(entry["sync_id"]) if entry and entry["sync_id"] else None

    def __missing__(self, collection: str) -> pd.DataFrame:
        read = self.sync_id(collection)
        if read is None:
            columns = DIRECTORY_COLUMNS if collection == _DIRECTORY else COLUMNS[collection]
            frame = rows.stacked([], list(columns))
        else:
            frame = self._lake.read_extract(self._tenant, self._provider_id, read, collection)
        self[collection] = frame
        return frame


def replace_options(now: Provider, then: dict[str, Any]) -> Provider:
    """The options of a provider as they were, under its present name; as they are where they do not fit."""
    try:
        return Provider.model_validate_json(json.dumps({**then, "name": now.name}))
    except ValueError:  # written by another release
        return now


def _fitting(frame: pd.DataFrame, names: Sequence[str], word: str) -> list[str]:
    """The ids (the first of `names`) of the rows that have the word in one of the columns."""
    fits = pd.Series(False, index=frame.index)
    for name in names:
        fits |= frame[name] == word
    return [one for one in frame.loc[fits, names[0]].tolist() if one and word]


def _as_text(row: Any) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in row.items()}

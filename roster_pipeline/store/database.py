"""The roster database: its tables, its views, and how it is opened.

Three groups of tables: the registry of tenants, the published rosters, and the ledger with the
bookkeeping of syncs. Readers of rosters use the views `current_<table>`, which show what is live.
Rows are never deleted: a published row keeps its key for ever and gets `removed_at`. The one exception is
whoever is erased on request (`forgetting`): of them no row stays.
Columns here, behaviour elsewhere; the SQL that changes rosters is in `publish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    URL,
    Boolean,
    Column,
    Date,
    DateTime,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    exc,
    make_url,
    text,
)

from roster_pipeline.codes import CodedError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

metadata = MetaData()

# ---------------------------------------------------------------------------------- registry

tenants = Table(
    "tenants",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("region", Text, nullable=False),
    Column("document", Text, nullable=False),  # canonical JSON of the document; paths are absolute
    Column("applied_at", DateTime, nullable=False),
    Column("added_at", DateTime, nullable=False),
)

providers = Table(
    "providers",
    metadata,
    Column("provider_id", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),  # `directory` for a directory
    Column("retired_at", DateTime),
    sqlite_autoincrement=True,
)

# ---------------------------------------------------------------------------------- published rosters


def _published(name: str, *columns: Column[Any]) -> Table:
    """A table of the roster: its own columns between the tenant and the bookkeeping."""
    return Table(
        name,
        metadata,
        Column("tenant", Text, primary_key=True),
        *columns,
        Column("created_sync", Integer, nullable=False),
        Column("changed_sync", Integer, nullable=False),
        Column("removed_at", DateTime),
    )


def _source() -> tuple[Column[Any], ...]:
    return Column("provider", Text), Column("provider_id", Integer)


schools = _published(
    "schools",
    Column("school_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("identifier", Text),
    *_source(),
    Column("source_id", Text),
    Column("state", Text, nullable=False),
    Column("state_as_of", Date),
    Column("state_code", Text),
    # While the roster from before an exclusion waits for a complete sync to replace it. Bookkeeping.
    Column("included_again", Boolean),
)

academic_sessions = _published(
    "academic_sessions",
    Column("session_id", Text, primary_key=True),
    Column("title", Text),
    Column("kind", Text),
    Column("start_date", Date),
    Column("end_date", Date),
    Column("school_year", Text),
    Column("parent_id", Text),
    *_source(),
    Column("source_id", Text),
)

classes = _published(
    "classes",
    Column("class_id", Text, primary_key=True),
    Column("school_id", Text),
    Column("title", Text),
    Column("class_code", Text),
    Column("class_kind", Text),
    Column("course_title", Text),
    Column("course_code", Text),
    Column("grades", Text),
    Column("subjects", Text),
    Column("subject_codes", Text),
    Column("periods", Text),
    Column("location", Text),
    Column("session_ids", Text),
    Column("start_date", Date),
    Column("end_date", Date),
    *_source(),
    Column("source_id", Text),
)

people = _published(
    "people",
    Column("person_id", Text, primary_key=True),
    Column("given_name", Text),
    Column("middle_name", Text),
    Column("family_name", Text),
    Column("preferred_given_name", Text),
    Column("preferred_family_name", Text),
    Column("email", Text),
    Column("username", Text),
    Column("identifier", Text),
    Column("phone", Text),
    Column("sms", Text),
    Column("grades", Text),
    Column("roles", Text),
    Column("enabled", Boolean),
    Column("inactive_since", Date),
    Column("merged_into", Text),
)

person_sources = _published(
    "person_sources",
    Column("provider_id", Integer, primary_key=True),
    Column("source_id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("person_id", Text, nullable=False),
    Column("linked_sync", Integer, nullable=False),
    Column("linked_by", Text, nullable=False),
    # The values as last accepted from this source, a JSON object: what RS-IDN-04 and RS-SAFE-06
    # compare with. Bookkeeping, not shown in the view.
    Column("seen", Text),
)

memberships = _published(
    "memberships",
    Column("class_id", Text, primary_key=True),
    Column("person_id", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("is_primary", Boolean),
    Column("begin_date", Date),
    Column("end_date", Date),
    *_source(),
)

guardian_links = _published(
    "guardian_links",
    Column("student_id", Text, primary_key=True),
    Column("guardian_id", Text, primary_key=True),
    Column("relationship", Text),
    *_source(),
)

Index("ix_memberships_person", memberships.c.tenant, memberships.c.person_id)
Index("ix_guardian_links_guardian", guardian_links.c.tenant, guardian_links.c.guardian_id)
Index("ix_person_sources_person", person_sources.c.tenant, person_sources.c.person_id)

PUBLISHED: Final[tuple[Table, ...]] = (
    schools,
    academic_sessions,
    classes,
    people,
    person_sources,
    memberships,
    guardian_links,
)

BOOKKEEPING: Final = frozenset(
    {"created_sync", "changed_sync", "removed_at", "provider_id", "seen", "included_again"}
)

VIEWS: Final[dict[str, str]] = {
    f"current_{table.name}": "SELECT "
    + ", ".join(column.name for column in table.columns if column.name not in BOOKKEEPING)
    + f" FROM {table.name} WHERE removed_at IS NULL"
    for table in PUBLISHED
}

# ---------------------------------------------------------------------------------- memory of syncs

school_sources = Table(
    "school_sources",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("provider_id", Integer, primary_key=True),
    Column("source_id", Text, primary_key=True),
    Column("school_id", Text, nullable=False),
)

enrolled_sources = Table(  # users who ever had an enrolment row: without one now, they have left
    "enrolled_sources",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("provider_id", Integer, primary_key=True),
    Column("source_id", Text, primary_key=True),
)

registers = Table(  # one row a tenant: refuses proposals that were made for an older register
    "registers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("proposal", Text),  # the proposal that made this version; publishing it again is harmless
    Column("as_of", Date),
    Column("options", Text),  # JSON: provider_id -> the options of the last publication
)

leases = Table(
    "leases",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("process", Text, nullable=False),  # host, pid and start time: a dead one's lease is free
    Column("heartbeat_at", DateTime, nullable=False),
)

holds = Table(  # the removals that wait; a row goes with its hold
    "holds",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),  # the published table
    Column("school_id", Text, primary_key=True),  # "" for no school
    Column("class_id", Text, primary_key=True),  # "" but for the members of one class
    Column("code", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("total", Integer, nullable=False),  # of how many, when they began to wait
    Column("why", Text),  # the pattern that they show, if there is one
    Column("fingerprint", Text, nullable=False),  # of the rows that would go
    Column("since_sync", Integer, nullable=False),
    Column("since", Date, nullable=False),
    Column("state", Text, nullable=False),  # waiting, approved, rejected
    Column("expires_on", Date),  # an approval's last day
)

history = Table(  # published rows as they were before a sync changed them: what `undo` goes back to
    "history",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("sync_id", Integer, primary_key=True),  # the sync that changed the row
    Column("kind", Text, primary_key=True),  # the published table
    Column("row_key", Text, primary_key=True),  # JSON array of the key's values, without the tenant
    # A JSON object of the row's own columns, with `removed_at` where it was not live. A row that a sync made
    # for the first time has no entry: its `created_sync` says as much. `store.history` has two more kinds.
    Column("before", Text),
)

forgotten = Table(  # whom no sync brings back: digests, no personal data
    "forgotten",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("digest", Text, primary_key=True),  # of a source id, an e-mail or an identifier, with the salt
    Column("receipt_id", Integer, nullable=False),
)

# ---------------------------------------------------------------------------------- ledger

receipts = Table(  # what `forget` erased, without saying whom; kept for good
    "receipts",
    metadata,
    Column("receipt_id", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("at", DateTime, nullable=False),
    Column("who", Text, nullable=False),  # who asked for it
    Column("why", Text),
    Column("salt", Text),  # of the digests; null once they may come back
    Column("erased", Text, nullable=False),  # JSON: where -> how many rows
    Column("lifted_at", DateTime),  # since when they may come back
    sqlite_autoincrement=True,
)

decisions = Table(  # what people decided of what waited, kept for good
    "decisions",
    metadata,
    Column("decision_id", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("at", DateTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text),
    Column("decision", Text, nullable=False),  # approved, rejected
    Column("kind", Text, nullable=False),
    Column("school_id", Text, nullable=False),
    Column("class_id", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("expires_on", Date),
    Column("sync_id", Integer),  # the sync that let it through
    sqlite_autoincrement=True,
)

syncs = Table(
    "syncs",
    metadata,
    Column("sync_id", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("region", Text),
    Column("run_id", Text, nullable=False, unique=True),  # of the root run: re-executions belong to it
    Column("trigger", Text),
    Column("status", Text, nullable=False),
    Column("as_of", Date),
    Column("as_of_given", Boolean),
    Column("started_at", DateTime, nullable=False),
    Column("finished_at", DateTime),
    Column("report", Text),  # the document that `sync --json` prints
    sqlite_autoincrement=True,
)

sync_providers = Table(
    "sync_providers",
    metadata,
    Column("sync_id", Integer, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("kind", Text),
    Column("status", Text),
    Column("unmatched_users", Integer),
    Column("matched_students", Integer),
    Column("matched_teachers", Integer),
    Column("imported_classes", Integer),
    Column("created_students", Integer),
    Column("created_teachers", Integer),
    Column("created_users", Integer),
    Column("details", Text),
)

sync_schools = Table(
    "sync_schools",
    metadata,
    Column("sync_id", Integer, primary_key=True),
    Column("school_id", Text, primary_key=True),
    Column("name", Text),
    Column("state", Text),
    Column("code", Text),
    Column("details", Text),
)

sync_issues = Table(
    "sync_issues",
    metadata,
    Column("sync_id", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("code", Text, nullable=False),
    Column("severity", Text),
    Column("provider", Text),
    Column("school", Text),
    Column("count", Integer),
    Column("message", Text),
    Column("cure", Text),
    Column("owner", Text),
)

sync_outcomes = Table(  # the newest outcome of each provider user, since the sync that changed it
    "sync_outcomes",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("provider_id", Integer, primary_key=True),
    Column("source_id", Text, primary_key=True),
    Column("provider", Text),
    Column("sync_id", Integer, nullable=False),
    Column("outcome", Text, nullable=False),  # matched, created, unmatched, dropped, gone
    Column("reason", Text),  # why, or what a match rests on; never null
    Column("evidence", Text),  # link, key, returned, new; or a JSON array of the people it could be
    Column("person_id", Text),
)

Index("ix_syncs_started", syncs.c.started_at)
Index("ix_syncs_finished", syncs.c.finished_at)

durations = Table(  # what the last syncs of a tenant took that published
    "durations",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("seconds", Float, nullable=False),  # their median
    Column("measured_at", DateTime, nullable=False),
)

hosts = Table(  # how each host of a provider wants to be asked, as the last sync that read it learned
    "hosts",
    metadata,
    Column("host", Text, primary_key=True),  # with its port, if that is said
    Column("space", Float, nullable=False),  # seconds between two requests
    Column("held_until", DateTime),
    Column("usual", Float, nullable=False),  # seconds that an answer takes
    Column("learned_at", DateTime, nullable=False),
)

night_ends = Table(  # how each night ended, kept for good
    "night_ends",
    metadata,
    Column("region", Text, primary_key=True),
    Column("start", DateTime, primary_key=True),  # of its window
    Column("recorded_at", DateTime, nullable=False),
    Column("tenants", Integer, nullable=False),
    Column("published", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("missed", Integer, nullable=False),
)

missed_nights = Table(  # of which tenants no sync was started in a night
    "missed_nights",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("start", DateTime, primary_key=True),
    Column("region", Text, nullable=False),
    Column("code", Text, nullable=False),
)

# ---------------------------------------------------------------------------------- alerts

alert_conditions = Table(  # tenants that are not well, or were not lately: how they are, and what was told
    "alert_conditions",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("problems", Text, nullable=False),  # JSON array of [code, provider, school_id, school]
    Column("since", DateTime),  # well, or not well
    Column("seen", Text, nullable=False),  # the sync, or the missed night, that says so
    Column("waits", Boolean, nullable=False),  # for a repetition tonight
    Column("changes", Text, nullable=False),  # the instants of the last days, ISO, blanks between
    Column("unsteady", Boolean, nullable=False),
    Column("told_state", Text, nullable=False),
    Column("told_problems", Text, nullable=False),
    Column("told_at", DateTime),
    Column("reach", Text),  # the worst severity that was told since it was well
)

alert_messages = Table(  # what is to be sent, one row a channel; written together with what it tells
    "alert_messages",
    metadata,
    Column("place", Integer, primary_key=True, autoincrement=True),
    Column("message_id", Text, nullable=False, unique=True),  # the same however often it is sent
    Column("channel", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Column("made_at", DateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try_at", DateTime, nullable=False),  # also ahead of now while somebody sends it
    Column("delivered_at", DateTime),
    Column("refused_at", DateTime),  # the channel works and does not want this one
    sqlite_autoincrement=True,
)

Index("ix_alert_messages_waiting", alert_messages.c.delivered_at, alert_messages.c.channel)

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("worked_at", DateTime),
    Column("failing_since", DateTime),
    Column("error", Text),  # with its code; nothing of what the other side said
    Column("reported_at", DateTime),  # to the other channels
)

alert_marks = Table(  # how far the ledger was read, the last digest of a region, the last message to somebody
    "alert_marks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", DateTime, nullable=False),
)

# ---------------------------------------------------------------------------------- opening

SCHEMA_VERSION: Final = "0005"
"""The newest migration in `migrations/versions`; `current_version` tells what a database has."""


def open_database(url: str) -> Engine:
    """The roster database, ready for use.

    A SQLite database is created and upgraded here; a Postgres one is only ever changed by
    `roster-pipeline db upgrade`.

    Raises:
        CodedError: RS-DB-01 if it cannot be reached, RS-DB-02 if its schema is another version.
    """
    engine = connect(url)
    version = current_version(engine)
    if version != SCHEMA_VERSION and engine.dialect.name == "sqlite":
        upgrade(engine)
    elif version != SCHEMA_VERSION:
        engine.dispose()
        raise CodedError(
            "RS-DB-02",
            f"The roster database {shown(url)} has schema version {version or 'none'}; "
            f"this release needs {SCHEMA_VERSION}.",
        )
    return engine


def connect(url: str) -> Engine:
    """An engine for `url`, without looking at the schema; `postgresql://` means psycopg 3.

    Raises:
        CodedError: RS-DB-01 if it is no address of SQLite or PostgreSQL.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    engine = create_engine(parsed, connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # WAL: readers see the old roster until the moment of the commit, and never wait for it.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        # KiB at most. The driver's own 2 MiB hold no table of a large tenant, whose keys come in any order.
        connection.execute("PRAGMA cache_size=-65536")
        # The driver would begin transactions lazily, and only before changes: a transaction that
        # reads, decides and writes must hold its snapshot from the first statement.
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _parsed(url: str) -> URL:
    # Nothing of what cannot be read is shown: it may hold the password.
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() in ("sqlite", "postgresql"):
            parsed.get_dialect().import_dbapi()
            return parsed
    except (exc.ArgumentError, ImportError):  # no address, or of a driver that is not there
        pass
    raise CodedError(
        "RS-DB-01", "ROSTER_DATABASE_URL is no address that begins with postgresql:// or sqlite:///."
    )


def current_version(engine: Engine) -> str | None:
    """The database's schema version, or None for an empty one.

    Raises:
        CodedError: RS-DB-01 if it cannot be reached.
    """
    try:
        with engine.connect() as connection:
            if not engine.dialect.has_table(connection, "alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except exc.OperationalError as error:
        raise CodedError(
            "RS-DB-01", f"The roster database {shown(str(engine.url))} could not be opened."
        ) from error


def upgrade(engine: Engine) -> None:
    """Brings the schema to `SCHEMA_VERSION`, by the migrations."""
    # Alembic is only needed here, and costs a third of a second to import.
    from pathlib import Path

    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def shown(url: str) -> str:
    """The address without its password, for messages."""
    return make_url(url).render_as_string(hide_password=True)

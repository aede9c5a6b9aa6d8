"""The error catalogue: every `RS-<AREA>-<NN>` code, with what happened, cause, cure and owner.

One table feeds the UI, the ledger, the terminal, the alerts and the documentation. A code is never
re-used and never renamed. `CodedError` carries a code out of a failure; `Issue` is one line of what
a sync tells. Neither may hold personal data or secrets: counts, codes, school ids and names only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

Severity = Literal["note", "warning", "school kept back", "sync failed"]
Owner = Literal["school", "SIS vendor", "operator", "us"]


@dataclass(frozen=True, slots=True)
class Code:
    """One entry of the catalogue; `retry` says whether trying again may help by itself."""

    code: str
    happened: str
    cause: str
    cure: str
    owner: Owner
    severity: Severity
    retry: bool


def _table(*rows: tuple[str, str, str, str, Owner, Severity, bool]) -> dict[str, Code]:
    return {row[0]: Code(*row) for row in rows}


# fmt: off
CATALOGUE: Final[dict[str, Code]] = _table(
    # code, what happened, usual cause, cure, who acts, severity, does a retry help
    ("RS-AUTH-01", "The credentials were refused.",
     "The key or secret is wrong, was rotated, or carries blanks from copying.", "Copy the id and the secret again from the SIS and run `roster-pipeline check`.",
     "school", "sync failed", False),
    ("RS-AUTH-02", "The token endpoint did not answer with a token.",
     "The token URL is wrong, or a gateway answers in its place.", "Compare `token_url` with the SIS's own page; it differs from the endpoint URL.",
     "school", "sync failed", True),
    ("RS-AUTH-03", "Access was refused in the middle of reading.",
     "The token or the credentials expired or were revoked during the sync.", "Sync again; if it repeats, issue new credentials.",
     "school", "sync failed", True),
    ("RS-AUTH-04", "The server forbids this collection.",
     "The app or plug-in lacks the permission or scope for it.", "Grant the app read access to all six roster collections.",
     "school", "sync failed", False),
    ("RS-AUTH-05", "A secret could not be read from its reference.",
     "The environment variable is not set or the file is missing or unreadable.", "Set the variable or mount the file that the tenant document names.",
     "operator", "sync failed", False),
    ("RS-NET-01", "The server could not be reached.",
     "The host name is wrong, the server is down, or a firewall is in between.", "Check `endpoint_url`; ask the school's network team to admit the sync.",
     "school", "sync failed", True),
    ("RS-NET-02", "The TLS connection failed.",
     "The certificate is expired, self-signed or for another host.", "Have the server's certificate renewed; it must match the host name.",
     "school", "sync failed", False),
    ("RS-NET-03", "The server answered with a redirect.",
     "The endpoint URL is outdated or points to a login page.", "Enter the final address as `endpoint_url`; credentials are never sent after a redirect.",
     "school", "sync failed", False),
    ("RS-NET-04", "The server did not answer in time.",
     "The server is overloaded or the connection was cut.", "Sync again later; if it repeats, ask the SIS vendor.",
     "SIS vendor", "sync failed", True),
    ("RS-NET-05", "The server failed with an error of its own.",
     "A fault in the SIS.", "Sync again later; if it repeats, ask the SIS vendor.",
     "SIS vendor", "sync failed", True),
    ("RS-NET-06", "The server kept asking to slow down.",
     "The school's request limit is too small, or other apps use it up.", "Sync at another hour, or have the limit raised.",
     "SIS vendor", "sync failed", True),
    ("RS-NET-07", "The server rejected a request.",
     "The endpoint URL or the OneRoster version is not what this server speaks.", "Compare `endpoint_url` and `version` with the SIS's documentation; try `compatibility_mode`.",
     "school", "sync failed", False),
    ("RS-NET-08", "An answer was larger than the limit.",
     "The server ignores the page size or is broken.", "Ask the SIS vendor; the limit protects the other schools.",
     "SIS vendor", "sync failed", False),
    ("RS-PAGE-01", "The answer was not JSON.",
     "A gateway, proxy or login page answers in the server's place.", "Open the endpoint URL in a browser; correct it or ask the network team.",
     "school", "sync failed", True),
    ("RS-PAGE-02", "The answer was cut off or is not valid JSON.",
     "The connection was cut, or a fault in the SIS.", "Sync again; if it repeats, ask the SIS vendor.",
     "SIS vendor", "sync failed", True),
    ("RS-PAGE-03", "The answer said success but carried an error.",
     "The SIS refused the request inside a 200 answer.", "Ask the SIS vendor, with the code and the time.",
     "SIS vendor", "sync failed", True),
    ("RS-PAGE-04", "The answer lacked the collection.",
     "The server wraps its rows in its own way, or is not OneRoster.", "Try `compatibility_mode`; else ask the SIS vendor.",
     "SIS vendor", "sync failed", False),
    ("RS-PAGE-05", "The answer held rows of another collection.",
     "The server mixes up its endpoints.", "Ask the SIS vendor.",
     "SIS vendor", "sync failed", False),
    ("RS-PAGE-06", "The server repeats its pages.",
     "It ignores `offset`, so that the rest cannot be read.", "Ask the SIS vendor to make paging work.",
     "SIS vendor", "sync failed", False),
    ("RS-PAGE-07", "The rows read and the total told differ.",
     "Rows changed while they were read, or the server's count is wrong.", "Sync again; if it repeats, ask the SIS vendor.",
     "SIS vendor", "warning", True),
    ("RS-PAGE-08", "Nothing proves that the collection was read to its end.",
     "The server sends neither a total nor an empty last page.", "Nothing is removed meanwhile; ask the SIS vendor for counts.",
     "SIS vendor", "warning", False),
    ("RS-PAGE-09", "The endpoint is not there.",
     "The server does not offer this collection, or the URL is wrong.", "Check `endpoint_url`; try `compatibility_mode`.",
     "school", "sync failed", False),
    ("RS-PAGE-10", "Reading went on for longer than any real collection.",
     "The server sends pages without end.", "Ask the SIS vendor.",
     "SIS vendor", "sync failed", False),
    ("RS-FILE-01", "The file or folder could not be read.",
     "It is missing, not a zip, or not readable by the sync.", "Check `path` in the tenant document and the export that writes it.",
     "school", "sync failed", True),
    ("RS-FILE-02", "A collection's file is missing.",
     "The export left it out, although it is required.", "Export all six files: orgs, academicSessions, courses, classes, users, enrollments.",
     "school", "sync failed", True),
    ("RS-FILE-03", "A file's header is not OneRoster's.",
     "Columns are missing or have other names, or the file is of an older version.", "Export OneRoster 1.1 or 1.2 with the published column names.",
     "SIS vendor", "sync failed", False),
    ("RS-FILE-04", "The archive holds a name that leads out of it.",
     "The zip was made by hand or is hostile.", "Export again; names must be plain file names.",
     "school", "sync failed", False),
    ("RS-FILE-05", "The archive is larger than the limit once unpacked.",
     "It is not a roster, or is hostile.", "Export again with the roster's files only.",
     "school", "sync failed", False),
    ("RS-FILE-06", "A file is cut off or has a malformed row.",
     "The upload ended early, or cells are not quoted.", "Export and upload again.",
     "school", "sync failed", True),
    ("RS-FILE-07", "The folder has no manifest.csv.",
     "An export made by hand.", "Add a manifest.csv; until then the files are read as OneRoster 1.1 bulk.",
     "school", "warning", False),
    ("RS-FILE-08", "A file is not UTF-8.",
     "It was saved by a spreadsheet or an old system.", "Export again as UTF-8.",
     "school", "sync failed", False),
    ("RS-FILE-09", "The manifest cannot be used.",
     "It names another version, or delta files, or contradicts the folder.", "Export OneRoster 1.1 or 1.2 with every file as bulk.",
     "SIS vendor", "sync failed", False),
    ("RS-ROW-01", "Rows without a sourcedId were left out.",
     "Incomplete records in the SIS.", "Ask the SIS vendor; such rows cannot be told apart.",
     "SIS vendor", "warning", False),
    ("RS-ROW-02", "Roles were met that OneRoster does not know.",
     "The SIS uses roles of its own.", "None needed; they are kept as they came.",
     "SIS vendor", "note", False),
    ("RS-ROW-03", "Dates could not be read.",
     "The SIS writes dates in its own way.", "Correct them in the SIS; until then they count as missing.",
     "school", "warning", False),
    ("RS-ROW-04", "Dates begin after they end.",
     "A typing error in the SIS.", "Correct them in the SIS; until then both are ignored.",
     "school", "warning", False),
    ("RS-ROW-05", "Rows came more than once.",
     "The server repeats rows between pages, or the export has doubles.", "None needed; the newest of each was taken.",
     "SIS vendor", "note", False),
    ("RS-REF-01", "Enrolments refer to users or classes that are not there.",
     "The sharing rules of the app leave them out, or the export is incomplete.", "Share all users and classes of the school with the app.",
     "school", "warning", False),
    ("RS-REF-02", "A school named in the settings fits no school.",
     "A typing error, or the school was renamed.", "Correct the name in the tenant document.",
     "operator", "warning", False),
    ("RS-REF-03", "Users name related people who are not there.",
     "Guardians or students are not shared with the app.", "Share them, or ignore this.",
     "school", "note", False),
    ("RS-REF-04", "Rows name a school that is not among the orgs.",
     "The school is not shared with the app.", "Share the school with the app.",
     "school", "warning", False),
    ("RS-REF-05", "Too many of a school's enrolments refer to nothing.",
     "Users or classes of the school are missing from the extract.", "Share all users and classes of the school with the app, or exclude the school.",
     "school", "school kept back", True),
    ("RS-SES-01", "The school's newest session ended long ago.",
     "The new school year is not set up in the SIS, or the export is an old one.", "Set up the new year's sessions, or export again.",
     "school", "school kept back", True),
    ("RS-SES-02", "Sessions vanished or were shortened before their end.",
     "The school calendar was changed in the SIS.", "Check the calendar; the classes stay as published until it is settled.",
     "school", "warning", True),
    ("RS-SES-03", "Classes have no session that could be found.",
     "Their terms are missing or refer to nothing.", "Give the classes a term in the SIS, or use `compatibility_mode` to keep them.",
     "school", "warning", False),
    ("RS-SES-04", "Classes ended with their last session.",
     "The term is over.", "None needed.",
     "us", "note", False),
    ("RS-SES-05", "No academic sessions could be read.",
     "The SIS does not offer them.", "Turn `respect_academic_sessions` off, or use `compatibility_mode`.",
     "school", "warning", False),
    ("RS-SES-06", "None of the school's classes has a session that could be found.",
     "Their terms are missing in the SIS, or refer to nothing.", "Give the classes a term in the SIS: without one nobody knows when the school is in session.",
     "school", "warning", False),
    ("RS-GRD-01", "Guardians without e-mail and phone were left out.",
     "Contact data are missing in the SIS, or not shared.", "Enter the contact data in the SIS.",
     "school", "note", False),
    ("RS-GRD-02", "Links between users were left out, because not exactly one of the two is a student.",
     "Siblings or colleagues are entered as related people.", "None needed.",
     "school", "note", False),
    ("RS-IDN-01", "Users were not matched, because more than one person fits.",
     "A shared e-mail address, or equal local parts in two domains.", "Give each person an e-mail address of their own.",
     "school", "warning", False),
    ("RS-IDN-02", "Users of one provider share an e-mail address.",
     "Siblings use a family address.", "Give each person an e-mail address of their own; until then it joins nobody.",
     "school", "note", False),
    ("RS-IDN-03", "A user's key points to another person than the one they are linked with.",
     "An e-mail address was changed or passed on.", "Check the address in the SIS; the link was not moved.",
     "school", "note", False),
    ("RS-IDN-04", "A sourcedId was given to somebody else.",
     "The SIS re-uses ids.", "None needed; a new person was made. Ask the SIS vendor to stop re-using ids.",
     "SIS vendor", "warning", False),
    ("RS-IDN-05", "Names and e-mail under one sourcedId have all changed, and no identifier tells whether it is the same person.",
     "A re-used id, or a corrected record.", "Check the record in the SIS; the person was kept.",
     "school", "warning", False),
    ("RS-IDN-06", "Nobody was created, because a stronger provider has never been read completely.",
     "The stronger provider is new or broken.", "Mend the stronger provider; the next sync creates them.",
     "operator", "warning", True),
    ("RS-IDN-07", "Users match nobody and were not created.",
     "The provider only attaches to existing users.", "Enter them in the stronger provider, or correct their e-mail.",
     "school", "note", False),
    ("RS-IDN-08", "Students without any enrolment were kept.",
     "They are not scheduled yet.", "None needed.",
     "school", "note", False),
    ("RS-IDN-09", "Users have no e-mail address that could join them with the other sources.",
     "Their addresses are missing, masked, or shared with somebody else.", "Give each student and each member of staff an address of their own; until then only an earlier link joins them.",
     "school", "note", False),
    ("RS-SAFE-01", "Removals wait: too many of a school's rows would go at once.",
     "A mistake in the SIS, a changed sharing rule, or a real change.", "Check the school's data; what is published stays meanwhile.",
     "operator", "warning", False),
    ("RS-SAFE-02", "Removals wait: at least half of a class would go.",
     "A mistake in the SIS, or the class was split.", "Check the class; its members stay as published meanwhile.",
     "school", "warning", False),
    ("RS-SAFE-03", "Removals wait: all of a school's rows of a kind would go.",
     "A changed sharing rule, or a broken export.", "Check the school's data; what is published stays meanwhile.",
     "operator", "warning", False),
    ("RS-SAFE-04", "A collection that had rows is empty now.",
     "A broken export, or a changed sharing rule.", "Check the export; nothing is removed meanwhile.",
     "school", "warning", True),
    ("RS-SAFE-05", "A collection was unreadable; the last complete one was used.",
     "See the code beside it.", "Mend the provider; the last complete extract is used for at most 7 days.",
     "operator", "warning", True),
    ("RS-SAFE-06", "Many values of a field vanished at once; the old ones stay.",
     "Masking (DataGuard) was switched on, or a broken export.", "Switch masking off for this app.",
     "school", "warning", False),
    ("RS-SAFE-07", "The school has no students.",
     "An incomplete export, or a changed sharing rule.", "Complete the data, or exclude the school.",
     "school", "school kept back", True),
    ("RS-SAFE-08", "The school has no teachers.",
     "An incomplete export, or a changed sharing rule.", "Complete the data, or exclude the school.",
     "school", "school kept back", True),
    ("RS-SAFE-09", "The school's names or e-mails are masked.",
     "Masking (DataGuard) is switched on for the app.", "Switch masking off for this app.",
     "school", "school kept back", True),
    ("RS-SAFE-10", "A whole grade vanished at once.",
     "An incomplete export, or a changed sharing rule.", "Complete the data, or confirm with the operator.",
     "school", "school kept back", True),
    ("RS-SAFE-11", "All rows of the school vanished.",
     "The school is no longer shared, or a broken export.", "Share the school again, or exclude it.",
     "school", "school kept back", True),
    ("RS-SAFE-12", "An org has no rows.",
     "It is not used.", "None needed.",
     "school", "note", False),
    ("RS-SAFE-13", "The school has students, but no classes.",
     "Classes are not set up, or not shared with the app.", "Set up the classes, or share them with the app; where the school wants people only, turn `sync_classroom_data` off.",
     "school", "warning", True),
    ("RS-SAFE-14", "Classes have no teacher.",
     "Nobody is assigned to them in the SIS, or the teacher is not shared with the app.", "Assign a teacher to each class, or end the class in the SIS.",
     "school", "warning", False),
    ("RS-SAFE-15", "Classes have no students.",
     "They are not scheduled yet, or are kept for other purposes. A few are normal.", "Look at them where they are many; end in the SIS what is not used.",
     "school", "note", False),
    ("RS-SAFE-16", "Students are in no class.",
     "They are not scheduled yet, or their enrolments have ended. A few are normal.", "Look at them where they are many; schedule them in the SIS.",
     "school", "note", False),
    ("RS-SAFE-17", "Some of a school's enrolments refer to nothing.",
     "Single users or classes are not shared with the app, or were deleted before their enrolments.", "Share them, or delete the enrolments in the SIS.",
     "school", "warning", False),
    ("RS-SAFE-18", "Many of a school's people lost their e-mail address or name since the last sync.",
     "Masking (DataGuard) was switched on, or a broken export.", "Switch masking off for this app, or complete the data in the SIS.",
     "school", "warning", False),
    ("RS-RUN-01", "The sync was not started in its window.",
     "The daemon was down, or the queue is too long.", "Start the daemon; sync the tenant by hand.",
     "operator", "sync failed", True),
    ("RS-RUN-02", "The sync was interrupted.",
     "The process was ended or the machine restarted.", "Sync again; nothing was published by it.",
     "operator", "sync failed", True),
    ("RS-RUN-06", "Another sync of this tenant is running.",
     "It was started twice, from the terminal and the UI.", "Wait for the other sync, then try again.",
     "operator", "sync failed", True),
    ("RS-RUN-07", "What was to be published is older than what is published.",
     "Another sync published meanwhile.", "Run the whole job again.",
     "operator", "sync failed", True),
    ("RS-RUN-08", "An asset was to be made before the assets that it reads.",
     "The selection left out what was never made.", "Materialise all assets of the tenant.",
     "operator", "sync failed", False),
    ("RS-RUN-09", "Nothing is published of this tenant.",
     "It was never synced, or every sync failed.", "Sync the tenant first; `roster-pipeline syncs` says how its syncs ended.",
     "operator", "sync failed", False),
    ("RS-RUN-99", "A fault of ours.",
     "A mistake in roster_pipeline.", "Report it with the sync's number; nothing was published by it.",
     "us", "sync failed", False),
    ("RS-CFG-01", "The tenant document has an unknown key.",
     "A typing error.", "Use one of the keys that the message names.",
     "operator", "sync failed", False),
    ("RS-CFG-02", "The tenant document has a wrong value.",
     "A wrong type, or a value that is not offered.", "Write one of the values that the message names.",
     "operator", "sync failed", False),
    ("RS-CFG-03", "A secret is written out in the tenant document.",
     "It was pasted in.", "Write `env:NAME` or `file:/path` and keep the secret there; then change the secret.",
     "operator", "sync failed", False),
    ("RS-CFG-04", "Two providers have one name or one priority.",
     "A copied entry.", "Give each its own.",
     "operator", "sync failed", False),
    ("RS-CFG-05", "The tenant document lacks a required key.",
     "It was left out.", "Add it.",
     "operator", "sync failed", False),
    ("RS-CFG-06", "An address is not safe to use.",
     "It is http:// and not loopback, or not an address.", "Write an https:// address.",
     "operator", "sync failed", False),
    ("RS-CFG-07", "The document lacks a provider of the registry.",
     "It was left out or renamed.", "Name it under `retired:`, or rename with `was:`.",
     "operator", "sync failed", False),
    ("RS-CFG-08", "There is no such tenant.",
     "A typing error, or it was not applied.", "See `roster-pipeline tenants list`.",
     "operator", "sync failed", False),
    ("RS-CFG-09", "The tenant document cannot be read.",
     "It is missing or not YAML.", "Correct the file.",
     "operator", "sync failed", False),
    ("RS-CFG-10", "The change takes people, classes or memberships out of scope.",
     "An option, a limit or a retired provider.", "Look at the numbers, then repeat with `--yes`.",
     "operator", "sync failed", False),
    ("RS-CFG-11", "The options contradict each other.",
     "An option that this kind of provider does not have, or one that needs another.", "Follow the message.",
     "operator", "sync failed", False),
    ("RS-DB-01", "The roster database could not be reached.",
     "It is down, or the URL is wrong.", "Check ROSTER_DATABASE_URL and the database.",
     "operator", "sync failed", True),
    ("RS-DB-02", "The roster database has another schema version.",
     "It was not upgraded, or by a newer release.", "Run `roster-pipeline db upgrade`.",
     "operator", "sync failed", False),
    ("RS-DB-03", "The lake could not be read or written.",
     "The disk is full or not writable, or the URL is wrong.", "Check ROSTER_LAKE_URL and the disk.",
     "operator", "sync failed", True),
    ("RS-DB-04", "Dagster's own database could not be used.",
     "It is down, or `dagster.yaml` in DAGSTER_HOME is wrong.", "Check DAGSTER_HOME, the `dagster.yaml` in it, and the database that it names.",
     "operator", "sync failed", True),
    ("RS-PRV-01", "No provider was readable.",
     "See the codes beside it.", "Mend the providers; what is published stays meanwhile.",
     "operator", "sync failed", True),
    ("RS-PRV-02", "A provider could not be used tonight.",
     "A collection without which nothing can be told was unreadable.", "Mend the provider; what is published of it stays meanwhile.",
     "operator", "warning", True),
    ("RS-PRV-03", "The provider's address now answers with another school's data.",
     "A typing error in the address.", "Run `roster-pipeline check`, or confirm with `--yes`.",
     "operator", "sync failed", False),
    ("RS-PRV-04", "Every school was kept back.",
     "See the codes beside it.", "Mend the data; what is published stays meanwhile.",
     "operator", "sync failed", True),
    ("RS-PRV-05", "The providers sent nothing at all.",
     "The app shares no data yet, or the export is only header rows.", "Share the schools with the app, or export again.",
     "school", "sync failed", True),
)
# fmt: on


class CodedError(Exception):
    """A failure with a code from the catalogue.

    `message` says what was tried and what happened; the catalogue says what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = CATALOGUE[code].code
        self.message = message


@dataclass(frozen=True, slots=True)
class Issue:
    """One line of what a sync tells; `count` is how many rows, people or classes it concerns.

    Attributes:
        school: The school's name, and `school_id` which one it is: names may be equal.
        judged: What the tenant's settings make of it where they say otherwise than the catalogue.
    """

    code: str
    message: str
    provider: str | None = None
    school: str | None = None
    count: int = 1
    school_id: str | None = None
    judged: Severity | None = None

    @property
    def severity(self) -> Severity:
        """How bad it is, here."""
        return self.judged or CATALOGUE[self.code].severity

    def as_json(self) -> dict[str, Any]:
        """The contract's members: code, severity, provider, school, count, message, cure, owner."""
        entry = CATALOGUE[self.code]
        return {
            "code": self.code,
            "severity": self.severity,
            "provider": self.provider,
            "school": self.school,
            "count": self.count,
            "message": self.message,
            "cure": entry.cure,
            "owner": entry.owner,
        }

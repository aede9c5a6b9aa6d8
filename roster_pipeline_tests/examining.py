"""What must hold whatever bytes a page, an export, a directory or a tenant document is made of.

Each `examine_…` gives bytes to the real parser and looks at what comes out: rows of the promised shape, or
a coded error that repeats nothing of what it was given. `fuzzing` and the property tests call them; the
bytes to begin with are here, too.
"""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import pyarrow as pa

from roster_pipeline.codes import CATALOGUE
from roster_pipeline.oneroster.auth import OAuth1
from roster_pipeline.oneroster.client import Answer, Client, Limits, Transport
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS, DIRECTORY_COLUMNS, LISTS
from roster_pipeline.oneroster.fields import LONGEST_ID, LONGEST_LIST, LONGEST_TEXT
from roster_pipeline.oneroster.paging import Listing
from roster_pipeline.oneroster.wire import SourceError
from roster_pipeline.providers import KINDS
from roster_pipeline.providers.reading import CollectionRead
from roster_pipeline.tenants.document import Directory, Provider, as_document, parse, read_file
from roster_pipeline.tenants.refusals import DocumentRefused
from roster_pipeline_tests.csv_packages import V1P1, V1P2, write_folder, write_zip
from roster_pipeline_tests.unit.oneroster.server import Pages, district, reading

KEYS: Final = frozenset({"sourcedId", "id", "role", "user", "class", "school", "course", "parent", "org"})
ALL_LISTS: Final = frozenset().union(*LISTS.values())
FILES: Final = ("manifest", *COLLECTIONS, "roles")


def examine_table(table: pa.Table, columns: Sequence[str]) -> None:
    """Fails unless a table is what an extract promises: all strings, all there, short, fit to be shown."""
    assert table.schema == pa.schema([(name, pa.string()) for name in columns])
    for name in columns:
        values: list[str | None] = table[name].to_pylist()
        for value in values:
            assert value is not None
            if name in ALL_LISTS:
                assert len(value.encode()) <= LONGEST_LIST
                _examine_list(value)
            else:
                assert len(value) <= LONGEST_ID if name in KEYS else len(value.encode()) <= LONGEST_TEXT
                _examine_text(value)


def _examine_list(value: str) -> None:
    entries = json.loads(value) if value else []
    assert type(entries) is list
    parts = [part for entry in entries for part in (entry if isinstance(entry, list) else [entry])]
    assert all(type(part) is str and len(part) <= LONGEST_ID and "\0" not in part for part in parts)


def _examine_text(value: str) -> None:
    assert value == value.strip()
    assert not any(unicodedata.category(sign) == "Cc" for sign in value)


def examine_error(code: str, message: str, given: bytes) -> None:
    """Fails unless an error has a code and a text, and repeats no word of what was given."""
    assert code in CATALOGUE
    assert code != "RS-RUN-99"
    assert message.strip()
    assert message.isprintable()
    repeated = _words(message) & _words(given.decode("utf-8", "replace"))
    assert not repeated - OURS, repeated


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{6,}", text))


def _words_of_the_package() -> frozenset[str]:
    import roster_pipeline

    package = Path(roster_pipeline.__file__).parent
    sources = [*package.glob("oneroster/**/*.py"), *package.glob("providers/*.py"), package / "codes.py"]
    return frozenset().union(*(_words(source.read_text(encoding="utf-8")) for source in sources))


OURS: Final = _words_of_the_package()
"""A message is made of words of the code; that the input has one of them, too, proves nothing."""


# ------------------------------------------------------------------------------------------------ pages


class _Given(Client):
    """A client whose every answer is there already; what comes after the answer is the real one's."""

    answer: Answer

    def fetch(self, *_: Any, **__: Any) -> Answer:
        return self.answer


def given_client() -> _Given:
    clock = lambda: datetime(2026, 11, 28, tzinfo=UTC)  # noqa: E731
    transport = Transport(
        httpx.Client(), clock=clock, sleep=lambda _: None, rng=random.Random(1), limits=Limits()
    )
    auth = OAuth1("key", "secret", clock=clock, method="HMAC-SHA256", may_change=False)
    return _Given("http://127.0.0.1/", transport, auth)


_CLIENT: Final = given_client()


def examine_page(data: bytes) -> None:
    """A page: the first byte says of which collection and how, the rest is the answer's body."""
    how, body = data[:1] or b"\0", data[1:]
    collection = COLLECTIONS[how[0] % 6]
    compatible, html = bool(how[0] & 0x40), bool(how[0] & 0x80)
    headers = httpx.Headers({"Content-Type": "text/html" if html else "application/json"})
    _CLIENT.answer = Answer(200, headers, body)
    listing = Listing(_CLIENT, collection, collection, compatible=compatible)
    refused = None
    try:
        page = listing.page(0, 100)
    except SourceError as error:
        refused = error
    if refused is not None:
        assert refused.__cause__ is refused.__context__ is None  # orjson's error carries the whole document
        examine_error(refused.code, refused.message, data)
        return
    assert page.rows == len(page.ids) == page.table.num_rows
    examine_table(page.table, COLUMNS[collection])


def pages() -> list[bytes]:
    """Pages of every collection, both versions, and some that are odd."""
    found = []
    for version in ("1.1", "1.2"):
        rows = district(2, version=version)
        for place, name in enumerate(COLLECTIONS):
            body = json.dumps({name: rows[name][:2]}).encode()
            found += [bytes([place]) + body, bytes([place | 0x40]) + body.replace(b'"0', b"0")]
    odd = [
        b"", b"null", b"[]", b"[[]]", b'{"users":[]}', b'{"users":[null,1,"a",[],{}]}', b"<html></html>",
        b'{"users":[{"sourcedId":1e400,"givenName":"\\u0000\\u001b[2J","roles":[[]],"grades":[[["x"]]]}]}',
        b'{"users":[{"sourcedId":["a"],"orgs":"x","role":7,"userIds":{"type":{},"identifier":-0.0}}]}',
        b'{"users":[{"sourcedId":"a","sourcedId":"b","agents":[{"sourcedId":{"sourcedId":"c"}}]}]}',
        b'{"imsx_codeMajor":"failure","imsx_CodeMinor":{"imsx_codeMinorField":[[]]}}', b'{"users":[' * 1200,
        b'{"users":[{"familyName":"\xc2\x9b2J\x7f","email":"' + b"x" * 5000 + b'"}]}', b"\xef\xbb\xbf{}",
    ]  # fmt: skip
    return found + [b"\x04" + body for body in odd] + [b"\x44" + body for body in odd]


# ------------------------------------------------------------------------------------------------ exports


def examine_export(data: bytes) -> None:
    """An export: the first byte says what the rest is: one file of a package, its zip, or a directory."""
    how, body = (data[:1] or b"\0")[0], data[1:]
    with TemporaryDirectory() as folder:
        root = Path(folder)
        if how % 16 == 9:
            (root / "people.csv").write_bytes(body)
            directory = Directory(name="logins", kind="csv", path=str(root / "people.csv"))
            _examine_reading(KINDS["directory"], directory, {"people": DIRECTORY_COLUMNS}, data)
            return
        if how % 16 == 8:
            path = root / "export.zip"
            path.write_bytes(body)
        else:
            base = dict(V1P2 if how & 0x20 else V1P1)
            files: dict[str, Any] = base | {FILES[how % 8]: body}
            path = write_folder(root / "export", files)
        provider = Provider(
            name="files", kind="oneroster_csv", path=str(path), compatibility_mode=bool(how & 0x40)
        )
        _examine_reading(KINDS["oneroster_csv"], provider, COLUMNS, data)


def _examine_reading(read: Callable[..., Any], source: Any, columns: Any, data: bytes) -> None:
    sink = Pages()
    found: list[CollectionRead] = read(source, sink, reading())
    assert [entry.name for entry in found] == list(columns)
    for entry in found:
        tables = sink.tables.get(entry.name, [])
        assert entry.rows == sum(table.num_rows for table in tables)
        for table in tables:
            examine_table(table, columns[entry.name])
        assert entry.state != "failed" or entry.issues
        assert entry.state != "ok" or all(issue.severity in ("note", "warning") for issue in entry.issues)
        for issue in entry.issues:
            examine_error(issue.code, issue.message, data)


def exports() -> list[bytes]:
    """Every file of both versions, a zip, a directory, and some that are odd."""
    found = []
    for flag, package in ((0, V1P1), (0x20, V1P2)):
        found += [
            bytes([flag | place]) + package[name].encode()
            for place, name in enumerate(FILES)
            if name in package
        ]
    with TemporaryDirectory() as folder:
        for package in (V1P1, V1P2):
            found.append(b"\x08" + write_zip(Path(folder) / "export.zip", package).read_bytes())
    users = V1P1["users"].encode()
    odd = [
        b"", b"\xff\xfe", b"\xef\xbb\xbf" + users, users.replace(b"\r\n", b"\r"), users[:-20], users + b'"',
        users.replace(b"Ann", b"\0"), users.replace(b"Ann", b'"A\nn\x1b[2J"'), users.replace(b",", b";"),
        users.replace(b"Ann", b"x" * 5000), users.replace(b"s1,,", b"s" * 300 + b",,"), b"," * 2000,
    ]  # fmt: skip
    people = b"id,email,given_name,family_name,role\n1,a@x.example,Ann,Null,student\n"
    return [
        *found,
        *(b"\x05" + body for body in odd),
        b"\x09" + people,
        b"\x09" + people.replace(b",", b"\t"),
    ]


# ------------------------------------------------------------------------------------------------ documents


def examine_document(data: bytes) -> None:
    """A tenant document: either a tenant that can be written back, or a refusal that can be shown."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tenant.yaml"
        file.write_bytes(data)
        refused = None
        try:
            tenant = read_file(file).tenant
        except DocumentRefused as error:
            refused = error
    if refused is not None:
        assert 0 < len(refused.lines) <= 101
        for code, text in refused.lines:
            assert code in CATALOGUE
            assert text.startswith(f"{file}:")
            assert text.isprintable()
            assert len(text) < len(str(file)) + 1500
        _examine_secrets(data, refused)
        return
    assert parse(as_document(tenant), file=file) == tenant


def _examine_secrets(data: bytes, error: DocumentRefused) -> None:
    """Fails if a secret that was written out is shown, where it stands in the document once only."""
    told = " ".join(text.partition(": ")[2] for _, text in error.lines)
    for secret in re.findall(rb"client_secret: *([!-+.-~-]{8,})", data):
        assert data.count(secret) > 1 or secret.startswith((b"env:", b"file:")) or secret.decode() not in told


DOCUMENT: Final = """\
tenant: riverbend
region: US
time_zone: America/Chicago
grace_days: 7
retired: [old]
keeps_back: [masked, dangling]
safeguards: {rows: 10, share: 0.5}
providers:
  - name: sis
    kind: powerschool
    endpoint_url: https://sis.powerschool.com/api/
    token_url: https://sis.powerschool.com/api/ims/oneroster/v1p1/token
    client_id: env:RIVERBEND_SIS_ID
    client_secret: env:RIVERBEND_SIS_SECRET
    respect_enrolment_date: true
    merge: &merge {priority: 100, key: email}
    exclude_schools: ["Riverbend Annexe"]
  - name: launchpad
    kind: classlink
    endpoint_url: https://riverbend-vn-v2.oneroster.com/
    client_id: env:RIVERBEND_CL_KEY
    client_secret: file:/run/secrets/riverbend-cl
    sync_parent_data: true
    relationship_type: guardian
    limit_to: {roles: [student, administrator], grades: ["09"]}
    merge: {priority: 50, key: email_without_domain, attach_to_existing_users_only: true}
  - {name: annexe-files, kind: oneroster_csv, path: exports/annexe.zip, merge: {priority: 10}}
directories:
  - {name: logins, kind: csv, path: exports/logins.csv}
"""


def documents() -> list[bytes]:
    """A whole document, and ones with what YAML offers to whoever means harm."""
    whole = DOCUMENT.encode()
    laughs = b"a: &a [x]\n" + b"".join(
        b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (98 + n, 98 + n, *(97 + n,) * 8) for n in range(20)
    )
    odd = [
        b"", b"\t", b"&a [*a]", b"&a {a: *a}", b"!!python/object/apply:os.system [id]", b"[" * 3000,
        b"? [a]\n: b", b"a: 1\na: 2", b"<<: {tenant: x}", b"%YAML 1.2\n---\ntenant: x\n---\ntenant: y",
        b"tenant: 2026-11-28", b'"\\e[2J\\0": "\\ud800"', b"\xff\xfea\0", b"\x00", laughs, b"priority: 1e999",
    ]  # fmt: skip
    changed = [
        whole.replace(b"100", value)
        for value in (
            b"1.0e+999",
            b"0x7",
            b"1:30",
            b"9" * 400,
            b"9" * 5000,
            b"-.inf",
            b"!!int z",
            b"~",
            b"'1'",
        )
    ]
    return [whole, *changed, *odd, whole.replace(b"env:RIVERBEND_SIS_SECRET", b"hunter2-hunter2")]


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {
    "pages": (examine_page, pages),
    "csv": (examine_export, exports),
    "documents": (examine_document, documents),
}
"""What can be fuzzed: how it is examined, and what to begin with."""

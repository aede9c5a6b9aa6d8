"""How long a value may be, and which signs it may hold, over the wire and in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from roster_pipeline.oneroster.collections import COLUMNS
from roster_pipeline.oneroster.fields import (
    LONGEST_ID,
    LONGEST_LIST,
    LONGEST_TEXT,
    bounded,
    may_hold_controls,
    without_controls,
)
from roster_pipeline.providers import KINDS
from roster_pipeline.tenants.document import Directory, Provider
from roster_pipeline_tests.csv_packages import V1P1, write_folder
from roster_pipeline_tests.unit.oneroster.server import (
    Pages,
    School,
    Signed,
    district,
    provider,
    reading,
    serving,
)


def users(**values: str) -> pa.Table:
    """One user who has these values and otherwise none."""
    return pa.table({name: [values.get(name, "")] for name in COLUMNS["users"]})


@pytest.mark.parametrize(
    "name, longest, longer",
    [
        ("sourcedId", "x" * LONGEST_ID, "x" * (LONGEST_ID + 1)),
        ("sourcedId", "é" * LONGEST_ID, "é" * (LONGEST_ID + 1)),
        ("familyName", "x" * LONGEST_TEXT, "x" * (LONGEST_TEXT + 1)),
        ("familyName", "é" * (LONGEST_TEXT // 2), "é" * (LONGEST_TEXT // 2 + 1)),
        ("agents", json.dumps(["x" * LONGEST_ID] * 100), json.dumps(["x" * (LONGEST_ID + 1)])),
        (
            "roles",
            json.dumps([["aide", "é" * LONGEST_ID, "", ""]] * 50),
            json.dumps([["x" * 300, "", "", ""]]),
        ),
        (
            "grades",
            json.dumps(["09"] * (LONGEST_LIST // 6 - 1)),
            json.dumps(["09"] * (LONGEST_LIST // 6 + 1)),
        ),
    ],
)
def test_a_value_may_be_as_long_as_its_limit_and_is_left_out_beyond(
    name: str, longest: str, longer: str
) -> None:
    table = users(**{name: longest, "email": "a@example.org"})
    assert bounded(table) == (table, 0)
    found, left_out = bounded(users(**{name: longer, "email": "a@example.org"}))
    assert left_out == 1
    assert found.equals(users(email="a@example.org"))


def test_no_piece_of_a_value_that_is_too_long_stands_for_it() -> None:
    """Two ids with one beginning are two people: cut, they would be one."""
    same = "x" * LONGEST_ID
    table = pa.table({"sourcedId": [same + "1", same + "2", "short"]})
    assert bounded(table)[0]["sourcedId"].to_pylist() == ["", "", "short"]


def test_control_characters_become_a_blank() -> None:
    table = users(givenName="\x1b[2JAnn\r\nLee\x7f", familyName="O\u009bM", email="Zoë@example.org")
    assert without_controls(table).equals(
        users(givenName="[2JAnn Lee", familyName="O M", email="Zoë@example.org")
    )


@pytest.mark.parametrize("sign", ["\n", "\t", "\r", "\b", "\f", "\x01", "\x1b", "\x7f", "\x80", "\x9f"])
@pytest.mark.parametrize("ascii", [True, False])
def test_however_json_writes_a_control_character_it_is_noticed(sign: str, ascii: bool) -> None:
    assert may_hold_controls(json.dumps({"a": f"a{sign}b"}, ensure_ascii=ascii).encode())


@pytest.mark.parametrize("text", ["abc", "Zoë", "a/b", 'a"b', "Ærø"])
def test_most_json_holds_none(text: str) -> None:
    assert not may_hold_controls(json.dumps({"a": text}, ensure_ascii=False).replace("/", "\\/").encode())


def read(source: Any, kind: str) -> tuple[dict[str, Any], Pages]:
    pages = Pages()
    return {entry.name: entry for entry in KINDS[kind](source, pages, reading())}, pages


def test_over_the_wire_they_are_counted_and_nothing_is_removed() -> None:
    rows: dict[str, list[Any]] = district()
    rows["users"][3]["givenName"] = "x" * 1_000_000
    rows["users"][4]["sourcedId"] = "x" * 1_000_000
    rows["users"][5]["familyName"] = "\u001b[2JRed\u0000dy"
    rows["users"][7]["familyName"] = "Black\n\tsmith"
    rows["users"][6]["grades"] = ["09"] * 100_000
    with serving(School(rows, access=Signed())) as server:
        found, pages = read(provider(server.url, "classlink"), "classlink")
    users = found["users"]
    assert (users.state, users.rows) == ("unproven", len(rows["users"]))
    assert [(issue.code, issue.count) for issue in users.issues] == [("RS-ROW-06", 3)]
    assert [entry.state for entry in found.values()].count("ok") == 5
    table = pa.concat_tables(pages.tables["users"])
    assert sum(table["sourcedId"].to_pylist().count(value) for value in ("", "user-4")) == 1
    assert {"[2JReddy", "Black smith"} <= set(table["familyName"].to_pylist())
    assert max(len(value) for column in table.columns for value in column.to_pylist()) <= LONGEST_TEXT


def test_in_files_they_are_counted_and_nothing_is_removed(tmp_path: Path) -> None:
    long = V1P1["users"].replace("Ann", "x" * 5000).replace("s1,,", "y" * 300 + ",,")
    folder = write_folder(tmp_path / "export", V1P1 | {"users": long})
    source = Provider(name="files", kind="oneroster_csv", path=str(folder))
    found, pages = read(source, "oneroster_csv")
    assert (found["users"].state, found["users"].rows) == ("unproven", 3)
    assert [(issue.code, issue.count) for issue in found["users"].issues] == [("RS-ROW-06", 2)]
    assert pages.ids("users") == ["", "g1", "t1"]


def test_in_a_directory_they_are_counted_too(tmp_path: Path) -> None:
    file = tmp_path / "logins.csv"
    file.write_text(f"id,email\n1,{'x' * 5000}\n2,b@x.example\n")
    found, pages = read(Directory(name="logins", kind="csv", path=str(file)), "directory")
    assert found["people"].state == "unproven"
    assert [(issue.code, issue.count) for issue in found["people"].issues] == [("RS-ROW-06", 1)]
    assert pages.tables["people"][0]["email"].to_pylist() == ["", "b@x.example"]

import random
from datetime import UTC, datetime

import pytest

from roster_pipeline.oneroster.collections import DIRECTORY_COLUMNS
from roster_pipeline.providers import directory
from roster_pipeline.providers.reading import Reading, ignore_progress
from roster_pipeline.tenants.document import Directory

READING = Reading(
    secret=lambda reference: pytest.fail(f"a file needs no secret: {reference}"),
    clock=lambda: datetime(2026, 11, 21, tzinfo=UTC),
    sleep=lambda seconds: pytest.fail("a file needs no waiting"),
    rng=random.Random(1),
    progress=ignore_progress,
)


class Kept:
    def __init__(self):
        self.rows = []

    def append(self, collection, page):
        assert collection == "people"
        assert tuple(page.column_names) == DIRECTORY_COLUMNS
        self.rows += [tuple(row.values()) for row in page.to_pylist()]

    def restart(self, collection):
        self.rows = []


def read(path):
    sink = Kept()
    (found,) = directory.read(Directory(name="logins", kind="csv", path=str(path)), sink, READING)
    assert found.name == "people"
    assert found.rows == len(sink.rows)
    return found, sink.rows


def written(tmp_path, text):
    path = tmp_path / "logins.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_people_are_read_by_the_names_of_the_columns(tmp_path):
    found, rows = read(
        written(
            tmp_path,
            '\ufeffrole,note,email,id,family_name,given_name\r\nstudent,"a,b", x@y.example ,01,Null,Änn\r\n',
        )
    )
    assert (found.state, found.issues) == ("ok", ())
    assert rows == [("01", "x@y.example", "Änn", "Null", "student")]


def test_names_and_role_may_be_missing(tmp_path):
    found, rows = read(written(tmp_path, "id,email\n1,x@y.example\n2,\n"))
    assert found.state == "ok"
    assert rows == [("1", "x@y.example", "", "", ""), ("2", "", "", "", "")]


def test_rows_that_come_twice_are_left_to_the_rules(tmp_path):
    _, rows = read(written(tmp_path, "id,email\n1,a\n1,a\n"))
    assert len(rows) == 2


@pytest.mark.parametrize(
    "text, code",
    [
        ("", "RS-FILE-06"),
        ("id,mail\n1,a\n", "RS-FILE-03"),
        ("ID,email\n1,a\n", "RS-FILE-03"),
        ("id,email,id\n1,a,2\n", "RS-FILE-03"),
        ("id,email\n1,a\n2", "RS-FILE-06"),
        ('id,email\n1,a\n2,"b', "RS-FILE-06"),
        (b"id,email\n1,\xe4\n", "RS-FILE-08"),
        (b"id,email\n1,\0\n", "RS-FILE-06"),
    ],
)
def test_a_broken_file_fails_with_a_code_and_without_rows(tmp_path, text, code):
    found, rows = read(written(tmp_path, text))
    assert (found.state, rows) == ("failed", [])
    (issue,) = found.issues
    assert (issue.code, issue.provider) == (code, "logins")
    assert "logins.csv" in issue.message


def test_a_file_that_is_not_there_fails_with_a_code(tmp_path):
    for path in (tmp_path / "gone.csv", tmp_path):
        found, _ = read(path)
        assert [issue.code for issue in found.issues] == ["RS-FILE-01"]


def test_a_probe_counts_the_people(tmp_path):
    path = written(tmp_path, "id,email\n1,a\n2,b\n")
    (found,) = directory.probe(Directory(name="logins", kind="csv", path=str(path)), READING)
    assert (found.state, found.rows, found.total) == ("ok", 2, 2)

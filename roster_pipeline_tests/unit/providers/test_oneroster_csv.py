import random
from datetime import UTC, datetime

import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS
from roster_pipeline.providers import oneroster_csv
from roster_pipeline.providers.reading import Reading
from roster_pipeline.tenants.document import Provider
from roster_pipeline_tests.csv_packages import V1P1, V1P2, write_folder, write_zip


class Kept:
    """A sink that keeps its pages."""

    def __init__(self):
        self.pages = {}

    def append(self, collection, page):
        assert tuple(page.column_names) == COLUMNS[collection]
        self.pages.setdefault(collection, []).append(page)

    def restart(self, collection):
        self.pages.pop(collection, None)


def reading(progress=lambda *_: None) -> Reading:
    return Reading(
        secret=lambda reference: pytest.fail(f"a file needs no secret: {reference}"),
        clock=lambda: datetime(2026, 11, 21, tzinfo=UTC),
        sleep=lambda seconds: pytest.fail("a file needs no waiting"),
        rng=random.Random(1),
        progress=progress,
    )


def provider(path, **options) -> Provider:
    return Provider(name="sis", kind="oneroster_csv", path=str(path), **options)


def read(path, **options):
    sink = Kept()
    found = oneroster_csv.read(provider(path, **options), sink, reading())
    assert [entry.name for entry in found] == list(COLLECTIONS)
    for entry in found:
        assert entry.rows == sum(page.num_rows for page in sink.pages.get(entry.name, ()))
        assert entry.proof.endswith(".")
        assert bool(entry.issues) or entry.state == "ok"
        assert all(issue.provider == "sis" for issue in entry.issues)
    return {entry.name: entry for entry in found}


def codes(found):
    return {name: [issue.code for issue in entry.issues] for name, entry in found.items() if entry.issues}


@pytest.mark.parametrize("files", [V1P1, V1P2])
@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_a_whole_package_is_proven_complete(tmp_path, files, write):
    found = read(write(tmp_path / "p", files))
    assert {entry.state for entry in found.values()} == {"ok"}
    assert [entry.rows for entry in found.values()] == [2, 2, 1, 1, 3 if files is V1P1 else 2, 2]
    assert "read to its end" in found["users"].proof


def test_progress_is_told_for_each_page(tmp_path):
    told = []
    oneroster_csv.read(
        provider(write_folder(tmp_path / "p", V1P1)), Kept(), reading(lambda *progress: told.append(progress))
    )
    assert ("users", 3, None) in told


@pytest.mark.parametrize("path", ["gone", "gone.zip"])
def test_a_package_that_is_not_there_fails_all_six(tmp_path, path):
    assert codes(read(tmp_path / path)) == {key: ["RS-FILE-01"] for key in COLLECTIONS}


def test_what_is_no_zip_fails_all_six(tmp_path):
    path = tmp_path / "p.zip"
    path.write_text("<html>")
    assert codes(read(path)) == {key: ["RS-FILE-01"] for key in COLLECTIONS}


def test_a_hostile_zip_fails_all_six(tmp_path):
    path = write_zip(tmp_path / "p.zip", V1P1 | {"../users": "x"})
    assert codes(read(path)) == {key: ["RS-FILE-04"] for key in COLLECTIONS}
    path = write_zip(tmp_path / "q.zip", V1P1 | {"users": "sourcedId\r\n" + "a" * (12 << 20)})
    assert codes(read(path)) == {key: ["RS-FILE-05"] for key in COLLECTIONS}


def test_a_missing_file_fails_its_collection_alone(tmp_path):
    found = read(write_zip(tmp_path / "p.zip", V1P1 | {"users": None}))
    assert codes(found) == {"users": ["RS-FILE-02"]}
    assert found["enrollments"].state == "ok"


def test_a_wrong_header_fails_its_collection_alone(tmp_path):
    assert codes(read(write_zip(tmp_path / "p.zip", V1P1 | {"users": "id,name\r\n1,Anna\r\n"}))) == {
        "users": ["RS-FILE-03"]
    }


def test_rows_before_the_cut_of_a_truncated_file_are_forgotten(tmp_path):
    line = "u{},,,true,north,student,u{},,Given,Family,,,,,,,09,\r\n"
    header = V1P1["users"].partition("\r\n")[0]
    text = header + "\r\n" + "".join(line.format(number, number) for number in range(60_000))
    sink = Kept()
    found = oneroster_csv.read(
        provider(write_folder(tmp_path / "p", V1P1 | {"users": text + "u,,,tr"})), sink, reading()
    )
    users = found[list(COLLECTIONS).index("users")]
    assert (users.state, users.rows) == ("failed", 0)
    assert [issue.code for issue in users.issues] == ["RS-FILE-06"]
    assert "users" not in sink.pages
    assert "enrollments" in sink.pages


def test_a_truncated_folder_s_other_collections_are_proven(tmp_path):
    found = read(write_folder(tmp_path / "p", V1P1 | {"enrollments": V1P1["enrollments"][:-20]}))
    assert codes(found) == {"enrollments": ["RS-FILE-06"]}
    assert found["users"].state == "ok"


def test_a_file_that_is_not_utf_8_fails_its_collection(tmp_path):
    latin = V1P1["users"].replace("Ann", "Änn").encode("latin-1")
    assert codes(read(write_folder(tmp_path / "p", V1P1 | {"users": latin}))) == {"users": ["RS-FILE-08"]}


def test_a_delta_file_fails_its_collection(tmp_path):
    files = V1P1 | {"manifest": V1P1["manifest"].replace("file.users,bulk", "file.users,delta")}
    assert codes(read(write_folder(tmp_path / "p", files))) == {"users": ["RS-FILE-09"]}


def test_a_folder_of_nothing_but_a_manifest_fails_all_six(tmp_path):
    found = read(write_folder(tmp_path / "p", {"manifest": V1P1["manifest"]}))
    assert codes(found) == {key: ["RS-FILE-02"] for key in COLLECTIONS}


def test_a_folder_without_a_manifest_is_read_with_one_warning(tmp_path):
    found = read(write_folder(tmp_path / "p", V1P1 | {"manifest": None}))
    assert {entry.state for entry in found.values()} == {"ok"}
    (issue,) = [issue for entry in found.values() for issue in entry.issues]
    assert issue.code == "RS-FILE-07"
    assert "manifest" in issue.message


def test_an_unusable_manifest_fails_all_six(tmp_path):
    files = V1P1 | {"manifest": V1P1["manifest"].replace("version,1.1", "version,1.0")}
    assert codes(read(write_folder(tmp_path / "p", files))) == {key: ["RS-FILE-09"] for key in COLLECTIONS}


def test_headers_alone_are_complete_files_without_rows(tmp_path):
    headers = {name: text.partition("\r\n")[0] for name, text in V1P1.items() if name != "manifest"}
    found = read(write_folder(tmp_path / "p", V1P1 | headers))
    assert {(entry.state, entry.rows) for entry in found.values()} == {("ok", 0)}


def test_sessions_that_the_manifest_calls_absent_are_left_out_in_compatibility_mode(tmp_path):
    text = V1P1["manifest"].replace("academicSessions,bulk", "academicSessions,absent")
    folder = write_folder(tmp_path / "p", V1P1 | {"manifest": text, "academicSessions": None})
    assert codes(read(folder)) == {"academicSessions": ["RS-FILE-02"]}
    found = read(folder, compatibility_mode=True)
    assert (found["academicSessions"].state, found["academicSessions"].rows) == ("ok", 0)


def test_a_fault_of_the_sink_is_not_blamed_on_the_file(tmp_path):
    class Full(Kept):
        def append(self, collection, page):
            raise CodedError("RS-DB-03", "The disk is full.")

    with pytest.raises(CodedError, match="RS-DB-03"):
        oneroster_csv.read(provider(write_folder(tmp_path / "p", V1P1)), Full(), reading())


def test_no_message_holds_what_stands_in_the_rows(tmp_path):
    for spoilt in ("u,Ann\r\n", 'u,"Ann\r\n', "u,Ann\0\r\n"):
        found = read(write_folder(tmp_path / "p", V1P1 | {"users": V1P1["users"] + spoilt}))
        assert found["users"].state == "failed"
        assert "Ann" not in str(found)


def test_a_probe_counts_to_the_end_and_shows_the_first_page(tmp_path):
    path = write_folder(tmp_path / "p", V1P1 | {"courses": None})
    found = {entry.name: entry for entry in oneroster_csv.probe(provider(path), reading())}
    assert list(found) == list(COLLECTIONS)
    assert (found["users"].state, found["users"].rows, found["users"].total) == ("ok", 3, 3)
    assert found["users"].page is not None
    assert found["users"].page.num_rows == 3
    assert (found["courses"].state, found["courses"].total, found["courses"].page) == ("failed", None, None)


def test_the_large_district_is_proven_complete(shared_data):
    found = read(shared_data / "merge-labs-district" / "district-large.zip")
    assert {entry.state for entry in found.values()} == {"ok"}
    assert found["enrollments"].rows == 31045


def test_header_only_files_are_complete(shared_data):
    found = read(shared_data / "nicelion-mocker" / "header-only")
    assert {(entry.state, entry.rows) for entry in found.values()} == {("ok", 0)}


@pytest.mark.parametrize(
    "folder, code", [("edfi-grand-bend/v1p0", "RS-FILE-03"), ("nicelion-mocker/partial", "RS-FILE-02")]
)
def test_folders_that_are_no_1_1_fail_all_six(shared_data, folder, code):
    assert codes(read(shared_data / folder)) == {key: [code] for key in COLLECTIONS}

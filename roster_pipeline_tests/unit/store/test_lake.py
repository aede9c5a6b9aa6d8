"""The lake: whoever follows a pointer finds the whole thing behind it, and only what nobody reads goes."""

from __future__ import annotations

import itertools
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS, DIRECTORY_COLUMNS
from roster_pipeline.store import lake as lake_module
from roster_pipeline.store.lake import Content, Lake, schema_of


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def page(collection: str, *ids: str) -> pa.Table:
    names = DIRECTORY_COLUMNS if collection == "people" else COLUMNS[collection]
    first = names[0]
    return pa.table(
        {name: pa.array(ids if name == first else [""] * len(ids), pa.string()) for name in names}
    )


def frame(*values: str) -> pd.DataFrame:
    return pd.DataFrame({"provider_id": pd.Series(range(len(values)), dtype="int64"),
                         "name": pd.Series(list(values), dtype="str")})  # fmt: skip


# ------------------------------------------------------------------------------------------ extracts


def test_pages_come_back_as_one_frame_in_their_order(lake: Lake):
    with lake.extract("oak", 1, 7, ("users", "orgs")) as sink:
        sink.append("users", page("users", "s1", "s2"))
        sink.append("users", page("users", "s3"))
    found = lake.read_extract("oak", 1, 7, "users")
    assert found["sourcedId"].tolist() == ["s1", "s2", "s3"]
    assert list(found.columns) == list(COLUMNS["users"])
    assert not found.isna().any().any()


def test_a_collection_without_a_page_is_an_empty_frame_of_text(lake: Lake):
    with lake.extract("oak", 1, 7, COLLECTIONS):
        pass
    for collection in COLLECTIONS:
        found = lake.read_extract("oak", 1, 7, collection)
        assert found.empty
        assert {str(found[name].dtype) for name in found.columns} <= {"str", "category"}
        assert {str(values.cat.categories.dtype) for values in coded(found)} <= {"str"}


def coded(frame: pd.DataFrame) -> list[pd.Series]:
    """The columns that are kept as small integers beside their values."""
    return [frame[name] for name in frame.columns if str(frame[name].dtype) == "category"]


def test_enrolments_come_coded_and_say_what_was_read(lake: Lake):
    """Parts whose values differ, and one more value than fits into a byte."""
    users = [f"u{number % 200}" for number in range(500)]
    with lake.extract("oak", 1, 7, ("enrollments",)) as sink:
        for start in range(0, 500, 100):
            ids = [f"e{number}" for number in range(start, start + 100)]
            table = page("enrollments", *ids)
            places = table.schema.get_field_index("user"), table.schema.get_field_index("status")
            table = table.set_column(places[0], "user", pa.array(users[start : start + 100]))
            sink.append("enrollments", table.set_column(places[1], "status", pa.array(["", "active"] * 50)))
    found = lake.read_extract("oak", 1, 7, "enrollments")
    assert found["sourcedId"].tolist() == [f"e{number}" for number in range(500)]
    assert found["user"].tolist() == users
    assert found["status"].tolist() == ["", "active"] * 250
    assert {values.name for values in coded(found)} == set(found.columns) - {"sourcedId"}
    assert found["user"].cat.categories.tolist() == list(dict.fromkeys(users))


def test_a_collection_that_is_read_again_forgets_its_first_pages(lake: Lake):
    with lake.extract("oak", 1, 7, ("users",)) as sink:
        sink.append("users", page("users", "s1", "s2"))
        sink.restart("users")
        sink.append("users", page("users", "s3"))
    assert lake.read_extract("oak", 1, 7, "users")["sourcedId"].tolist() == ["s3"]


def test_a_collection_that_is_given_up_is_empty(lake: Lake):
    with lake.extract("oak", 1, 7, ("users",)) as sink:
        sink.append("users", page("users", "s1"))
        sink.restart("users")
    assert lake.read_extract("oak", 1, 7, "users").empty


def folder_of(lake: Lake, sync_id: int) -> Path:
    return Path(lake.url) / "tenants" / "oak" / "extracts" / "1" / str(sync_id)


def test_extracts_of_earlier_releases_are_one_file_a_collection(lake: Lake):
    folder = folder_of(lake, 7)
    folder.mkdir(parents=True)
    pq.write_table(page("users", "s1", ""), folder / "users.parquet")
    assert lake.read_extract("oak", 1, 7, "users")["sourcedId"].tolist() == ["s1", ""]
    assert lake.has_rows_without_id("oak", 1, 7, "users")
    assert lake.digest("oak", 1, 7, "users") is None
    lake.set_complete("oak", 1, {"users": {"sync_id": 7, "rows": 2, "as_of": "2025-10-15"}})
    lake.prune("oak")
    assert lake.read_extract("oak", 1, 7, "users").shape[0] == 2


def cut_short(lake: Lake, *ids: str, closed: str = "", ends: BaseException | None = None) -> None:
    """An extract of sync 7 that ends early, after a page of users; one, `closed`, is through."""
    with lake.extract("oak", 1, 7, ("orgs", "users")) as sink:
        sink.append("orgs", page("orgs", "o1"))
        sink.append("users", page("users", *ids), {"at": len(ids)})
        if closed:
            sink.close(closed)
        raise ends or KeyboardInterrupt


@pytest.mark.parametrize(
    "ends", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), CodedError("RS-DB-03", "x")]
)
def test_what_ends_an_extract_early_leaves_its_pages_and_where_to_go_on(lake: Lake, ends: BaseException):
    with pytest.raises(type(ends)):
        cut_short(lake, "s1", "s2", closed="orgs", ends=ends)
    assert lake.is_unfinished("oak", 1, 7)
    assert lake.read_extract("oak", 1, 7, "orgs")["sourcedId"].tolist() == ["o1"]
    with pytest.raises(CodedError, match="RS-DB-03"):
        lake.read_extract("oak", 1, 7, "users")  # nobody takes a part for the whole
    with lake.extract("oak", 1, 8, ("orgs", "users"), interrupted=(7,)) as sink:
        found = sink.interrupted("users")
        assert found is not None
        assert ([*found.ids()], found.bookmark, found.finished) == ([["s1", "s2"]], {"at": 2}, False)
        sink.go_on("users", found)
        sink.append("users", page("users", "s3"), {"at": 3})
    assert lake.read_extract("oak", 1, 8, "users")["sourcedId"].tolist() == ["s1", "s2", "s3"]
    assert not lake.is_unfinished("oak", 1, 8)


def test_a_reading_that_is_done_again_leaves_the_last_one_until_it_is_through(lake: Lake):
    with pytest.raises(KeyboardInterrupt):
        cut_short(lake, "s1", closed="users")
    with pytest.raises(KeyboardInterrupt):
        cut_short(lake, "s2", "s3")
    assert lake.read_extract("oak", 1, 7, "users")["sourcedId"].tolist() == ["s1"]
    with lake.extract("oak", 1, 7, ("users",)) as sink:
        sink.append("users", page("users", "s4"))
    assert lake.read_extract("oak", 1, 7, "users")["sourcedId"].tolist() == ["s4"]


def test_parts_are_closed_by_rows_and_by_time(lake: Lake):
    now = [datetime(2025, 10, 15, tzinfo=UTC)]
    with lake.extract("oak", 1, 7, ("users",), clock=lambda: now[0]) as sink:
        for seconds in (0, 14, 15, 16, 31, 32):
            now[0] = datetime(2025, 10, 15, tzinfo=UTC) + timedelta(seconds=seconds)
            sink.append("users", page("users", f"s{seconds}"), {"at": seconds})
        many = page("users", *(f"x{number}" for number in range(lake_module.PART_ROWS)))
        sink.append("users", many, {"at": 99})
        sink.append("users", page("users", "last"), {"at": 100})
    parts = [pq.read_metadata(path).num_rows for path in sorted(folder_of(lake, 7).glob("*.parquet"))]
    assert parts == [3, 2, 1 + lake_module.PART_ROWS, 1]
    assert lake.read_extract("oak", 1, 7, "users")["sourcedId"].tolist()[-1] == "last"


def test_pages_become_row_groups_also_where_a_reading_could_not_go_on(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lake_module, "_GROUP_ROWS", 3)
    monkeypatch.setattr(lake_module, "PART_ROWS", 4)
    with lake.extract("oak", 1, 7, ("users",)) as sink:
        for number in range(8):
            sink.append("users", page("users", f"s{number}"))
    (part,) = folder_of(lake, 7).glob("*.parquet")
    groups = pq.read_metadata(part)
    assert [groups.row_group(place).num_rows for place in range(groups.num_row_groups)] == [3, 3, 2]
    assert lake.read_extract("oak", 1, 7, "users")["sourcedId"].tolist() == [f"s{n}" for n in range(8)]


def test_pages_with_large_values_are_written_before_they_fill_memory(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lake_module, "_GROUP_BYTES", 10_000)
    with lake.extract("oak", 1, 7, ("users",)) as sink:
        for number in range(4):
            sink.append("users", page("users", f"{number}" * 6_000))
    (part,) = folder_of(lake, 7).glob("*.parquet")
    assert pq.read_metadata(part).num_row_groups == 2


# ------------------------------------------------------------------------------------------ the digest

ROWS = [("1", "Ann"), ("2", ""), ("3", "Bea"), ("4", "Zoë"), ("", "Cy"), ("6", "Dee"), ("7", "Eve")]


def digest_of(lake: Lake, sync_id: int, rows: list[tuple[str, str]], *cuts: int, turned: bool = False) -> str:
    """Of an extract of users with these ids and names, read in pages that end at `cuts`."""
    with lake.extract("oak", 1, sync_id, ("users",)) as sink:
        for first, last in itertools.pairwise((0, *cuts, len(rows))):
            ids, names = [[*column] for column in zip(*rows, strict=True)]
            whole = page("users", *ids)
            place = whole.column_names.index("familyName" if not turned else "givenName")
            whole = whole.set_column(place, whole.column_names[place], pa.array(names, pa.string()))
            sink.append("users", whole.slice(first, last - first), {"at": last})
    found = lake.digest("oak", 1, sync_id, "users")
    assert found is not None
    assert len(bytes.fromhex(found)) == 16
    return found


@pytest.mark.parametrize("cuts", [(), (1, 2, 3, 4, 5, 6), (3,), (2, 2, 6), (0, 7)], ids=str)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_neither_pages_nor_parts_nor_row_groups_matter_to_the_digest(
    lake: Lake, cuts: tuple[int, ...], rows: int, monkeypatch: pytest.MonkeyPatch
):
    whole = digest_of(lake, 7, ROWS)
    monkeypatch.setattr(lake_module, "_GROUP_ROWS", rows)
    assert digest_of(lake, 8, ROWS, *cuts) == whole
    monkeypatch.setattr(lake_module, "PART_ROWS", rows)
    assert digest_of(lake, 9, ROWS, *cuts) == whole


def test_whatever_else_an_extract_holds_it_has_another_digest(lake: Lake):
    others = [
        ROWS[:-1], [*ROWS, ("", "")], [*ROWS, ROWS[-1]], ROWS[::-1], [ROWS[1], ROWS[0], *ROWS[2:]],
        [("1", "AnnB"), ("2", ""), ("3", "ea"), *ROWS[3:]], [("1", "An"), ("2", "n"), *ROWS[2:]],
        [("1", ""), ("2", "Ann"), *ROWS[2:]], [("1", "ann"), *ROWS[1:]], [("1A", "nn"), *ROWS[1:]],
        [(one, "") for one, _ in ROWS], [("1", "Ann\0"), *ROWS[1:]], [],
    ]  # fmt: skip
    found = [digest_of(lake, 10 + number, rows) for number, rows in enumerate(others) if rows]
    found += [digest_of(lake, 7, ROWS), digest_of(lake, 8, ROWS, turned=True)]
    with lake.extract("oak", 1, 9, ("users", "orgs")):
        pass
    found += [str(lake.digest("oak", 1, 9, name)) for name in ("users", "orgs")]
    assert len(set(found)) == len(found) - 1  # of nothing there is one


@given(
    values=st.lists(st.tuples(st.text(max_size=2), st.text(max_size=2)), max_size=6),
    cuts=st.lists(st.integers(0, 6), max_size=3),
    change=st.tuples(st.integers(0, 5), st.integers(0, 1), st.text(max_size=2)),
)
def test_two_contents_have_one_digest_only_if_they_are_the_same(
    values: list[tuple[str, str]], cuts: list[int], change: tuple[int, int, str]
):
    def content(rows: list[list[str]], *cuts: int) -> Content:
        table = pa.table({
            name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate("ab")
        })  # fmt: skip
        made = Content()
        for first, last in itertools.pairwise((0, *sorted(cuts), len(rows))):
            made.add(table.slice(first, max(0, last - first)))
        return made

    rows = [[*row] for row in values]
    made = content(rows, *(cut for cut in cuts if cut <= len(rows)))
    assert (made.rows, made.without_id) == (len(rows), sum(not row[0] for row in rows))
    assert made.digest == content(rows).digest
    row, place, value = change
    if row < len(rows):
        same = rows[row][place] == value
        rows[row][place] = value
        assert (content(rows).digest == made.digest) is same


def test_rows_that_were_taken_over_are_in_the_digest(lake: Lake):
    with pytest.raises(KeyboardInterrupt):
        cut_short(lake, "s1", "s2", "")
    assert lake.digest("oak", 1, 7, "users") is None
    for sync_id in (8, 7):  # from another folder, and in the same
        with lake.extract("oak", 1, sync_id, ("users",), interrupted=(7,)) as sink:
            found = sink.interrupted("users")
            assert found is not None
            sink.go_on("users", found)
            sink.append("users", page("users", "s3", "s4"), {"at": 5})
    with lake.extract("oak", 1, 9, ("users",)) as sink:
        sink.append("users", page("users", "s1", "s2", "", "s3", "s4"))
    assert len({lake.digest("oak", 1, sync_id, "users") for sync_id in (7, 8, 9)}) == 1
    assert all(lake.has_rows_without_id("oak", 1, sync_id, "users") for sync_id in (7, 8, 9))


def test_rows_without_an_id_are_noted(lake: Lake):
    for sync_id, ids in ((7, ("a", "", "b")), (8, ("a", "b")), (9, ())):
        with lake.extract("oak", 1, sync_id, ("users",)) as sink:
            if ids:
                sink.append("users", page("users", *ids))
        for path in folder_of(lake, sync_id).glob("*.parquet"):
            path.unlink()  # they are not looked at
        assert lake.has_rows_without_id("oak", 1, sync_id, "users") is ("" in ids)


def test_a_note_that_is_not_whole_is_nothing_to_go_on_with(lake: Lake):
    with pytest.raises(KeyboardInterrupt):
        cut_short(lake, "s1")
    (folder_of(lake, 7) / "users.unfinished.json").write_text("")
    with lake.extract("oak", 1, 8, ("users",), interrupted=(7,)) as sink:
        assert sink.interrupted("users") is None
    lake.prune("oak", now=datetime.now(UTC))


def test_a_directory_has_columns_of_its_own():
    assert schema_of("people").names == list(DIRECTORY_COLUMNS)


def test_tenants_providers_and_syncs_do_not_mix(lake: Lake):
    for tenant, provider_id, sync_id in (("oak", 1, 1), ("oak", 1, 2), ("oak", 2, 1), ("elm", 1, 1)):
        with lake.extract(tenant, provider_id, sync_id, ("users",)) as sink:
            sink.append("users", page("users", f"{tenant}{provider_id}{sync_id}"))
    assert lake.read_extract("oak", 1, 2, "users")["sourcedId"].tolist() == ["oak12"]
    assert lake.read_extract("elm", 1, 1, "users")["sourcedId"].tolist() == ["elm11"]


def test_nothing_is_complete_at_first_and_then_what_was_said(lake: Lake):
    assert lake.complete("oak", 1) == {}
    told = {"users": {"sync_id": 3, "rows": 5, "as_of": "2025-10-15"}}
    lake.set_complete("oak", 1, told)
    assert lake.complete("oak", 1) == told
    assert lake.complete("oak", 2) == {}


def test_folders_are_for_their_owner_only(lake: Lake):
    with lake.extract("oak", 1, 7, ("users",)):
        pass
    folder = Path(lake.url) / "tenants" / "oak" / "extracts" / "1" / "7"
    assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0


# ------------------------------------------------------------------------------------------ tables


def test_the_newest_tables_of_an_asset_are_those_written_last(lake: Lake):
    assert lake.facts("oak", "current_sessions") is None
    lake.write("oak", 1, "current_sessions", {"classes": frame("a")}, {"as_of": "2025-10-15"})
    lake.write("oak", 2, "current_sessions", {"classes": frame("b", "c")}, {"as_of": "2025-10-16"})
    facts = lake.facts("oak", "current_sessions")
    assert facts
    assert facts.pop("made")
    assert facts == {"as_of": "2025-10-16", "sync_id": 2, "tables": ["classes"]}
    found = lake.read("oak", "current_sessions", facts)["classes"]
    assert found["name"].tolist() == ["b", "c"]
    assert {name: str(kind) for name, kind in found.dtypes.items()} == {"provider_id": "int64", "name": "str"}


def test_a_sync_that_is_named_gives_its_own_tables(lake: Lake):
    for number in (1, 2):
        lake.write("oak", number, "asset", {"t": frame(str(number))}, {})
    facts = lake.facts("oak", "asset", 1)
    assert facts is not None
    assert lake.read("oak", "asset", facts)["t"]["name"].tolist() == ["1"]
    assert lake.facts("oak", "asset", 3) is None


def test_an_empty_table_keeps_its_columns_and_types(lake: Lake):
    lake.write("oak", 1, "asset", {"t": frame()}, {})
    facts = lake.facts("oak", "asset")
    assert facts is not None
    found = lake.read("oak", "asset", facts)["t"]
    assert {name: str(kind) for name, kind in found.dtypes.items()} == {"provider_id": "int64", "name": "str"}


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("dies_at", ["t.parquet", "facts.json", "asset.json"])
def test_a_sync_killed_at_any_file_leaves_the_old_tables(
    lake: Lake, dies_at: str, monkeypatch: pytest.MonkeyPatch
):
    lake.write("oak", 1, "asset", {"t": frame("old")}, {"n": 1})

    # The kill comes when the file has been written in part, before it has its name.
    real_json, real_table = lake_module._write_json, pq.write_table

    def write_json(path: Path, value: dict) -> None:
        if path.name == dies_at:
            path.with_name(f".{path.name}.1").write_text(json.dumps(value)[:5])
            raise Killed
        real_json(path, value)

    def write_table(table: pa.Table, file, **options) -> None:
        if dies_at == "t.parquet":
            file.write(b"PAR1 and no more")
            raise Killed
        real_table(table, file, **options)

    monkeypatch.setattr(lake_module, "_write_json", write_json)
    monkeypatch.setattr(pq, "write_table", write_table)
    with pytest.raises(Killed):
        lake.write("oak", 2, "asset", {"t": frame("new")}, {"n": 2})
    monkeypatch.undo()
    facts = lake.facts("oak", "asset")
    assert facts is not None
    assert facts["n"] == 1
    assert lake.read("oak", "asset", facts)["t"]["name"].tolist() == ["old"]
    lake.write("oak", 3, "asset", {"t": frame("newer")}, {"n": 3})
    assert (lake.facts("oak", "asset") or {})["n"] == 3


def test_a_json_file_is_never_seen_in_part(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    lake.set_complete("oak", 1, {"users": {"sync_id": 1, "rows": 1, "as_of": "2025-10-15"}})

    def dies(self: Path, target: Path) -> Path:
        raise Killed

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(Killed):
        lake.set_complete("oak", 1, {})
    assert lake.complete("oak", 1)["users"]["sync_id"] == 1


def test_a_lake_that_cannot_be_written_says_so_with_a_code(tmp_path: Path):
    (tmp_path / "lake").write_text("a file is in the way")
    with pytest.raises(CodedError) as refused:
        Lake(str(tmp_path / "lake")).write("oak", 1, "asset", {}, {})
    assert refused.value.code == "RS-DB-03"
    assert str(tmp_path) not in refused.value.message


# ------------------------------------------------------------------------------------------ retention


def extract(lake: Lake, provider_id: int, sync_id: int, *complete: str) -> None:
    with lake.extract("oak", provider_id, sync_id, ("users", "orgs")):
        pass
    told = {name: {"sync_id": sync_id, "rows": 0, "as_of": "2025-10-15"} for name in complete}
    lake.set_complete("oak", provider_id, {**lake.complete("oak", provider_id), **told})


def kept(lake: Lake, *under: str) -> set[str]:
    folder = Path(lake.url) / "tenants" / "oak" / Path(*under)
    return {path.name for path in folder.iterdir() if path.is_dir()} if folder.exists() else set()


def test_the_last_complete_extracts_are_kept_and_older_ones_go(lake: Lake):
    extract(lake, 1, 1, "users", "orgs")
    extract(lake, 1, 2, "users")
    extract(lake, 1, 3)
    extract(lake, 1, 4)
    lake.prune("oak")
    assert kept(lake, "extracts", "1") == {"1", "2"}  # orgs of 1, users of 2


def test_extracts_that_the_newest_tables_were_made_of_are_kept(lake: Lake):
    extract(lake, 1, 1, "users", "orgs")
    extract(lake, 1, 2, "users", "orgs")
    raw = {"as_of": "2025-10-15", "providers": {"1": {"collections": {"users": {"sync_id": 1}}}}}
    lake.write("oak", 3, "current_sessions", {}, {"raw": raw})
    lake.prune("oak")
    assert kept(lake, "extracts", "1") == {"1", "2"}
    lake.write("oak", 4, "current_sessions", {}, {"raw": {"providers": {}}})
    lake.prune("oak")
    assert kept(lake, "extracts", "1") == {"2"}


def test_tables_that_newer_tables_read_are_kept_and_others_go(lake: Lake):
    for number in (1, 2, 3):
        lake.write("oak", number, "current_sessions", {"t": frame("x")}, {})
    lake.write("oak", 2, "merged", {}, {"reads": {"current_sessions": 1}})
    lake.prune("oak")
    assert kept(lake, "syncs") == {"1", "2", "3"}
    lake.write("oak", 4, "merged", {}, {"reads": {"current_sessions": 3}})
    lake.prune("oak")
    assert kept(lake, "syncs") == {"3", "4"}
    for asset, sync_id in (("current_sessions", 3), ("merged", 4)):
        assert (lake.facts("oak", asset) or {})["sync_id"] == sync_id


def test_pruning_one_tenant_leaves_the_others(lake: Lake):
    for tenant in ("oak", "elm"):
        for number in (1, 2):
            lake.write(tenant, number, "asset", {"t": frame(tenant)}, {})
    lake.prune("oak")
    assert lake.facts("elm", "asset", 1) is not None
    assert lake.facts("oak", "asset", 1) is None


def test_pruning_a_tenant_of_whom_nothing_is_known_is_harmless(lake: Lake):
    lake.prune("nobody")

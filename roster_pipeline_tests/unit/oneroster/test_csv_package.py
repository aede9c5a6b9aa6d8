import io
import os
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.csv.package import Limits, Package, open_package, read_manifest
from roster_pipeline_tests.csv_packages import V1P1, write_folder, write_zip


def refused(path: Path, **limits: int) -> CodedError:
    with pytest.raises(CodedError) as raised:
        read_all(path, Limits(**limits))
    return raised.value


def read_all(path: Path, limits: Limits) -> None:
    with open_package(path, limits) as package:
        for name in sorted(package.names):
            content(package, name)


def content(package: Package, name: str) -> bytes:
    with package.open(name) as stream:
        return stream.read()


def archive_of(path: Path, *entries: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name comes twice
        for name, data in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name  # the constructor would cut it at a NUL
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


# ------------------------------------------------------------------------------------- what can be opened


def test_a_folder_and_a_zip_hold_the_same_files(tmp_path):
    folder, zipped = write_folder(tmp_path / "f", V1P1), write_zip(tmp_path / "f.zip", V1P1)
    with open_package(folder) as one, open_package(zipped) as other:
        assert one.names == other.names == {f"{name}.csv" for name in V1P1}
        for name in one.names:
            assert content(one, name) == content(other, name) == V1P1[name.removesuffix(".csv")].encode()


def test_files_in_the_one_folder_that_somebody_zipped_are_found(tmp_path):
    path = write_zip(tmp_path / "f.zip", V1P1, prefix="export/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/export/users.csv", b"junk")
        archive.writestr("empty/", b"")
    with open_package(path) as package:
        assert "users.csv" in package.names
        assert content(package, "users.csv") == V1P1["users"].encode()


def test_files_in_several_folders_are_no_package(tmp_path):
    path = archive_of(tmp_path / "f.zip", ("a/users.csv", b"x"), ("b/orgs.csv", b"x"))
    with open_package(path) as package:
        assert package.names == frozenset()


def test_nothing_is_unpacked_to_disk(tmp_path):
    path = write_zip(tmp_path / "f.zip", V1P1)
    with open_package(path) as package:
        content(package, "users.csv")
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------------------------ what is refused


def test_a_path_that_leads_nowhere_is_refused(tmp_path):
    error = refused(tmp_path / "gone.zip")
    assert error.code == "RS-FILE-01"
    assert "gone.zip is not there" in error.message


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    path = tmp_path / "f.zip"
    path.write_bytes(b"<html>sign in</html>")
    assert refused(path).code == "RS-FILE-01"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "f.zip")
    assert refused(tmp_path / "f.zip").code == "RS-FILE-01"


def test_a_zip_that_was_cut_off_is_refused(tmp_path):
    path = write_zip(tmp_path / "f.zip", V1P1)
    path.write_bytes(path.read_bytes()[:-40])
    assert refused(path).code == "RS-FILE-01"


def test_an_entry_whose_bytes_are_damaged_is_refused(tmp_path):
    path = tmp_path / "f.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("users.csv", b"sourcedId\r\nANNA\r\n")
    path.write_bytes(path.read_bytes().replace(b"ANNA", b"BERT", 1))
    error = refused(path)
    assert error.code == "RS-FILE-06"
    assert "users.csv in f.zip is damaged" in error.message


def test_an_encrypted_entry_is_refused(tmp_path):
    path = write_zip(tmp_path / "f.zip", {"users": "x"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    error = refused(path)
    assert error.code == "RS-FILE-01"
    assert "encrypted" in error.message


@pytest.mark.parametrize(
    "name",
    ["../users.csv", "a/../../users.csv", "/etc/users.csv", "..\\users.csv", "a\\users.csv", "C:users.csv",
     "C:/users.csv", "..", "users.csv\0.txt"],
)  # fmt: skip
def test_a_name_that_leads_out_of_the_archive_refuses_it_whole(tmp_path, name):
    error = refused(archive_of(tmp_path / "f.zip", ("orgs.csv", b"x"), (name, b"x")))
    assert error.code == "RS-FILE-04"


def test_a_name_that_merely_has_dots_is_none_of_them(tmp_path):
    with open_package(archive_of(tmp_path / "f.zip", ("users..csv", b"x"), ("users.csv", b"y"))) as package:
        assert content(package, "users.csv") == b"y"


def test_two_files_of_one_name_refuse_the_archive(tmp_path):
    assert (
        refused(archive_of(tmp_path / "f.zip", ("users.csv", b"x"), ("users.csv", b"y"))).code == "RS-FILE-04"
    )


def test_a_link_in_an_archive_is_refused(tmp_path):
    path = tmp_path / "f.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("users.csv")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert refused(path).code == "RS-FILE-04"


def test_a_link_that_leads_out_of_a_folder_is_refused(tmp_path):
    folder = write_folder(tmp_path / "f", {"orgs": "x"})
    (tmp_path / "other.csv").write_text("somebody else's")
    (folder / "users.csv").symlink_to(tmp_path / "other.csv")
    assert refused(folder).code == "RS-FILE-04"


def test_a_link_inside_a_folder_is_followed(tmp_path):
    folder = write_folder(tmp_path / "f", {"data": "x"})
    (folder / "users.csv").symlink_to("data.csv")
    with open_package(folder) as package:
        assert content(package, "users.csv") == b"x"


def test_an_archive_of_too_many_files_is_refused(tmp_path):
    path = archive_of(tmp_path / "f.zip", *((f"{number}.csv", b"") for number in range(12)))
    assert refused(path, entries=11).code == "RS-FILE-05"
    with open_package(path, Limits(entries=12)):
        pass


def test_an_archive_of_a_hundred_times_its_size_is_refused(tmp_path):
    path = archive_of(tmp_path / "f.zip", ("users.csv", b"sourcedId\n" + b"a" * (12 << 20)))
    error = refused(path)
    assert error.code == "RS-FILE-05"
    assert "more than 100 times its own size" in error.message


def test_a_bomb_beside_the_roster_is_refused_too(tmp_path):
    assert refused(
        archive_of(tmp_path / "f.zip", ("users.csv", b"x"), ("b.csv", b"\0" * (12 << 20)))
    ).code == ("RS-FILE-05")


def test_an_archive_that_lies_about_its_size_gives_no_more_than_it_said(tmp_path):
    path = archive_of(tmp_path / "f.zip", ("users.csv", b"a" * (12 << 20)))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 12 << 20), struct.pack("<I", 100)))
    error = refused(path)
    assert error.code == "RS-FILE-06"  # the check sum is not that of the first hundred bytes


def test_what_really_comes_out_is_counted_while_it_comes(tmp_path):
    path = archive_of(
        tmp_path / "f.zip", ("users.csv", os.urandom(300_000)), ("orgs.csv", os.urandom(300_000))
    )
    with open_package(path, Limits(unpacked=700_000)) as package:
        package.limits = Limits(unpacked=500_000)  # type: ignore[attr-defined]
        content(package, "orgs.csv")
        with pytest.raises(CodedError, match="RS-FILE-05"):
            content(package, "users.csv")


def test_a_small_archive_may_be_as_compact_as_it_likes(tmp_path):
    with open_package(archive_of(tmp_path / "f.zip", ("users.csv", b"a" * (1 << 20)))) as package:
        assert len(content(package, "users.csv")) == 1 << 20


def test_reading_an_entry_twice_counts_once(tmp_path):
    path = archive_of(tmp_path / "f.zip", ("users.csv", os.urandom(300_000)))
    with open_package(path, Limits(unpacked=400_000)) as package:
        for _ in range(3):
            assert len(content(package, "users.csv")) == 300_000


# ------------------------------------------------------------------------------------------------ manifest


def manifest(tmp_path, text: str):
    with open_package(write_folder(tmp_path / "f", {"manifest": text})) as package:
        return read_manifest(package)


def test_a_package_may_lack_a_manifest(tmp_path):
    with open_package(write_folder(tmp_path / "f", {"users": "x"})) as package:
        assert read_manifest(package) is None


def test_a_manifest_may_be_quoted_and_in_any_order(tmp_path):
    found = manifest(
        tmp_path,
        '"value","propertyName"\n"Bulk","file.users"\n"1.1","oneroster.version"\n"Acme","source.systemCode"\n'
        '"delta","file.orgs"\n"absent","file.demographics"\n',
    )
    assert found is not None
    assert (found.version, found.source) == ("1.1", "Acme")
    assert found.modes == {"users": "bulk", "orgs": "delta", "demographics": "absent"}


@pytest.mark.parametrize("text, version", [("1.1", "1.1"), ("1.2", "1.2"), ("1.2.1", "1.2"), ("v1.1", "1.1")])
def test_corrections_of_a_version_are_that_version(tmp_path, text, version):
    found = manifest(tmp_path, f"propertyName,value\noneroster.version,{text}\n")
    assert found is not None
    assert found.version == version


@pytest.mark.parametrize(
    "text, says",
    [
        ("propertyName,value\noneroster.version,1.0\n", "OneRoster 1.0"),
        ("propertyName,value\noneroster.version,2.0\n", "OneRoster 2.0"),
        ("propertyName,value\noneroster.version,Anna\n", "a version that is none"),
        ("name,value\noneroster.version,1.1\n", "propertyName,value"),
        ("propertyName,value\nfile.users,bulk\nfile.users,delta\n", "two values"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(tmp_path, text, says):
    with pytest.raises(CodedError) as raised:
        manifest(tmp_path, text)
    assert raised.value.code == "RS-FILE-09"
    assert says in raised.value.message
    assert "Anna" not in raised.value.message


def test_a_stream_is_a_binary_file(tmp_path):
    with open_package(write_zip(tmp_path / "f.zip", V1P1)) as package, package.open("orgs.csv") as stream:
        assert isinstance(stream, io.BufferedReader)
        assert stream.read(9) == b"sourcedId"

"""Secrets by reference."""

from __future__ import annotations

import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.tenants.secrets import resolve

CANARY = "c4n4ry"


def test_a_variable_is_read_without_the_blanks_around_it():
    assert resolve("env:SIS_SECRET", {"SIS_SECRET": f" {CANARY}\n"}) == CANARY


def test_a_file_is_read_without_its_last_line_end(tmp_path):
    (tmp_path / "secret").write_bytes(f"\ufeff{CANARY} \r\n".encode())
    assert resolve(f"file:{tmp_path}/secret", {}) == CANARY


@pytest.mark.parametrize("environment", [{}, {"SIS": ""}, {"SIS": " \n"}, {"SIS": f"{CANARY}\n{CANARY}"}])
def test_a_variable_without_one_secret_is_told_by_its_name(environment):
    with pytest.raises(CodedError, match="variable SIS ") as caught:
        resolve("env:SIS", environment)
    assert caught.value.code == "RS-AUTH-05"
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\n", CANARY.encode() + b"\xff", CANARY.encode() * 20_000, f"{CANARY}\nx".encode()],
    ids=["missing", "empty", "blank", "not UTF-8", "endless", "two lines"],
)
def test_a_file_without_one_secret_is_told_by_its_path(tmp_path, content):
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CodedError, match=f"file {file} ") as caught:
        resolve(f"file:{file}", {})
    assert caught.value.code == "RS-AUTH-05"
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("reference", [CANARY, f"vault:{CANARY}", "file:\0", ""])
def test_what_is_no_reference_is_not_shown(reference):
    with pytest.raises(CodedError) as caught:
        resolve(reference, {})
    assert caught.value.code == "RS-AUTH-05"
    assert CANARY not in str(caught.value)


def test_a_folder_is_no_secret(tmp_path):
    with pytest.raises(CodedError, match="could not be read"):
        resolve(f"file:{tmp_path}", {})

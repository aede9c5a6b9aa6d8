"""The files at the top level agree with each other and with the package."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import roster_pipeline

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def locked() -> dict[str, Version]:
    lines = (PROJECT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_the_lock_file_holds_names_and_exact_versions_only() -> None:
    """No registry, no address, no file of the machine that wrote it: pip takes it from where it is told."""
    lines = (PROJECT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)]
    assert wrong == []
    assert "://" not in "\n".join(lines)


def test_the_lock_file_answers_every_dependency(
    pyproject: dict[str, Any], locked: dict[str, Version]
) -> None:
    project = pyproject["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["dev"],
        *pyproject["build-system"]["requires"],
    ]
    for line in wanted:
        requirement = Requirement(line)
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements.lock: run `make lock`"
        assert version in requirement.specifier, (
            f"requirements.lock has {requirement.name} {version}, not {line}"
        )


def test_pandas_is_really_at_3(locked: dict[str, Version]) -> None:
    """Some Dagster libraries pull it back to 2 without a word."""
    assert locked["pandas"].major == 3


def test_the_version_is_the_package_s(pyproject: dict[str, Any]) -> None:
    assert pyproject["project"]["version"] == roster_pipeline.__version__
    assert f"[{roster_pipeline.__version__}]" in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_says_why_it_is_one() -> None:
    lines = (PROJECT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start = lines.index("dependencies = [")
    inside = lines[start + 1 : lines.index("]", start)]
    reasoned = False
    for before, line in pairwise(inside):
        reasoned = before.strip().startswith("#") or (reasoned and before.strip().startswith('"starlette'))
        if line.strip().startswith('"'):
            assert reasoned, line


def test_dagster_finds_one_code_location_whichever_file_it_reads(pyproject: dict[str, Any]) -> None:
    """Schedules, sensors and the history of runs hang on its name."""
    workspace = yaml.safe_load((PROJECT / "workspace.yaml").read_text(encoding="utf-8"))
    (entry,) = workspace["load_from"]
    tool = pyproject["tool"]
    assert entry["python_module"]["location_name"] == tool["dg"]["project"]["code_location_name"]
    assert entry["python_module"]["location_name"] == tool["dagster"]["code_location_name"]
    assert entry["python_module"]["module_name"] == tool["dagster"]["module_name"]
    assert entry["python_module"]["module_name"] == tool["dg"]["project"]["code_location_target_module"]


def test_every_make_target_that_a_page_names_is_there() -> None:
    targets = set(
        re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    pages = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "deploy").rglob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"(?m)(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"))
    }
    assert {"demo", "test", "check", "ui", "help"} <= named
    assert named <= targets

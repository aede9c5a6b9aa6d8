"""The house rules of the package that a reader cannot check by eye: who imports whom, and when."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import roster_pipeline
from roster_pipeline.codes import CATALOGUE

PACKAGE: Final = Path(roster_pipeline.__file__).parent
PROJECT: Final = PACKAGE.parent

# What Dagster runs, and what starts it. Whatever is not named here is below the line, but for `__main__`:
# that is a way to start a command.
ABOVE_THE_LINE: Final = {
    "definitions", "assets", "checks", "jobs", "schedules", "sensors", "partitions", "resources", "tags",
    "metadata", "instance", "cli", "runs", "upkeep", "owners",
}  # fmt: skip
SAYS_NOTHING: Final = re.compile(r"(.*_)?(util|helper|manager|processor)s?|common|misc")

SOURCES: Final = sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_below(path: Path) -> bool:
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    return room not in ABOVE_THE_LINE and path.stem != "__main__"


def _is_importable(path: Path) -> bool:
    return "migrations" not in path.parts  # Alembic runs those itself, inside a migration


def _modules(*, below_only: bool = False) -> list[str]:
    return [_name(path) for path in SOURCES if _is_importable(path) and (_is_below(path) or not below_only)]


def _imported(path: Path) -> Iterator[str]:
    """The full names of everything that a module imports, at its top or inside a function."""
    package = _name(path).split(".") if path.name == "__init__.py" else _name(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=[str(path.relative_to(PACKAGE)) for path in paths])


def _run(code: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a new interpreter in an empty folder, which is its home as well."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ROSTER_", "DAGSTER_"))
    }
    environment |= {"HOME": str(folder), "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@_each([path for path in SOURCES if _is_below(path)])
def test_nothing_below_the_line_imports_what_is_above_it(path: Path) -> None:
    """Not at the top, not inside a function, and not for types either."""
    above = {f"roster_pipeline.{name}" for name in ABOVE_THE_LINE}
    wrong = [
        name for name in _imported(path)
        if name.split(".")[0].startswith("dagster") or ".".join(name.split(".")[:2]) in above
    ]  # fmt: skip
    assert wrong == []


IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_importing_everything_below_the_line_loads_no_dagster(tmp_path: Path) -> None:
    """The walk above reads our own imports; this sees what they lead to."""
    told = "\nprint([name for name in sys.modules if name.split('.')[0].startswith('dagster')][:5])"
    done = _run(IMPORT_ALL + told, *_modules(below_only=True), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_protocol_the_providers_and_the_tenants_need_no_pandas(tmp_path: Path) -> None:
    """Reading and configuring stay light: only the rules and publishing work on DataFrames."""
    rooms = ("oneroster", "providers", "tenants")
    names = [name for name in _modules() if name.split(".")[1:2] and name.split(".")[1] in rooms]
    assert names
    done = _run(IMPORT_ALL + "\nprint('pandas' in sys.modules)", *names, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


def test_the_command_line_starts_without_dagster(tmp_path: Path) -> None:
    """Loading Dagster takes seconds; only a command that runs a sync has to wait for it."""
    code = """
import sys
sys.argv = ["roster-pipeline", "--help"]
from roster_pipeline.cli import main
try:
    main()
except SystemExit as end:
    print(end.code, any(name.split(".")[0].startswith("dagster") for name in sys.modules))
"""
    done = _run(code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] in ("0 False", "None False")


WATCH_IMPORTS = """
import importlib, json, os, sys

here, names, seen, busy = sys.argv[1], sys.argv[2:], [], False
always = {"socket.connect", "socket.bind", "socket.getaddrinfo", "sqlite3.connect", "subprocess.Popen",
          "os.system", "os.posix_spawn", "os.fork", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}

# Sources are read by inspect, what is installed by pydantic (plug-ins), time zones by schedules.
not_data = (sys.prefix, sys.base_prefix, "/usr/share/zoneinfo")

def ours():
    # The nearest frame that is ours or the import system's: who asked for it?
    frame = sys._getframe(2)
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith(here):
            return f"{filename[len(here):]}:{frame.f_lineno}"
        if filename.startswith("<frozen importlib"):
            return None
        frame = frame.f_back
    return None

def hook(event, arguments):
    global busy
    if busy or (event != "open" and event not in always):
        return
    busy = True
    try:
        if event in always:
            if ours() or event != "subprocess.Popen":  # Dagster's packages ask `file` what system this is
                seen.append([event, str(arguments[:1]), ours()])
            return
        path, mode, flags = (list(arguments) + [None, None])[:3]
        writes = set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        known = str(path).endswith(".py") or str(path).startswith(not_data)
        if path != os.devnull and (writes or (not known and ours())):
            seen.append(["open", str(path), ours()])
    finally:
        busy = False

sys.addaudithook(hook)
for name in names:
    importlib.import_module(name)
print(json.dumps(seen))
"""


def test_importing_the_package_opens_and_writes_nothing(tmp_path: Path) -> None:
    """Definitions load in every process of Dagster, runs included: no file, no database, no network."""
    done = _run(WATCH_IMPORTS, str(PACKAGE), *_modules(), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert list(tmp_path.iterdir()) == []


def _runs_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What is executed while a module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in (*child.decorator_list, *child.args.defaults, *filter(None, child.args.kw_defaults)):
                yield part
                yield from _runs_at_import(part)
        elif not isinstance(child, ast.Lambda):
            yield child
            yield from _runs_at_import(child)


def _is_read(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Load)  # and not the field of a class that is called so


@_each([path for path in SOURCES if _is_importable(path)])
def test_no_module_reads_the_environment_at_import(path: Path) -> None:
    """A setting that is read at import is read in the wrong process, and before a test can change it."""
    reading = [
        node.lineno
        for node in _runs_at_import(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"))
        or (isinstance(node, ast.Name) and node.id in ("environ", "getenv") and _is_read(node))
    ]
    assert reading == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    """Things live where their noun lives."""
    names = {part for path in SOURCES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert [name for name in sorted(names) if SAYS_NOTHING.fullmatch(name)] == []


@_each(SOURCES)
def test_every_module_says_what_belongs_in_it(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring.splitlines()[0].rstrip().endswith((".", ",", ":", ";")) or "\n" in docstring


@_each([path for path in SOURCES if "migrations" not in path.parts])
def test_every_folder_is_a_package_and_says_what_belongs_in_it(path: Path) -> None:
    """A folder without `__init__.py` would still import, and be left out by tools that look for packages."""
    assert (path.parent / "__init__.py").exists()


def test_every_code_that_is_named_anywhere_is_in_the_catalogue() -> None:
    texts = [
        *SOURCES,
        PROJECT / "README.md",
        *(PROJECT / "docs").rglob("*.md"),
        *(PROJECT / "deploy").rglob("*.md"),
    ]
    named = {
        (code, str(path.relative_to(PROJECT)))
        for path in texts
        for code in re.findall(r"\bRS-[A-Z]+-\d+\b", path.read_text(encoding="utf-8"))
    }
    assert {place for place in named if place[0] not in CATALOGUE} == set()


def test_a_connection_to_another_machine_is_refused_in_the_tests() -> None:
    """192.0.2.1 is nobody's: the address is reserved for documentation, and nothing is sent to it."""
    with (
        socket.socket() as outward,
        pytest.raises(RuntimeError, match="loopback only"),
    ):
        outward.connect(("192.0.2.1", 443))

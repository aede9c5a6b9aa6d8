"""No free-text error reaches a user without a code: what a walk of the source can see, and what commands say.

Errors leave by few doors: what is written to stderr, click's own exceptions, a run's failure and log, a
sensor's or schedule's reason for doing nothing. Each of them is looked for here, and what is said at it is
either coded or listed below as no error.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

import roster_pipeline
from roster_pipeline.cli import main
from roster_pipeline.codes import CATALOGUE, CodedError
from roster_pipeline.store.lake import Lake

PACKAGE = Path(roster_pipeline.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
CODED = re.compile(r"(RS-[A-Z]+-\d\d)\b")

# Where something is said on stderr that is no error, by file and function.
NO_ERRORS = {
    ("cli/__init__.py", "tell"),  # this is what says the code
    ("cli/__init__.py", "tell_error"),
    ("cli/__init__.py", "invoke"),  # "Interrupted.", to whoever just did it
    ("cli/__init__.py", "_fault"),  # where to find more, below the code
    ("cli/demo.py", "_open_ui"),  # that there is no demo yet; the UI opens
    ("cli/export.py", "export"),  # what was written
    ("cli/holds.py", "holds"),  # that nothing waits
    ("cli/syncs.py", "syncs"),  # that nothing was synced yet
    ("cli/nights.py", "nights"),  # that there are no tenants yet
    ("cli/tenants.py", "list_"),  # that there are no tenants yet
}
# Exceptions of our own without a code: each is caught in the package. Python's end as RS-RUN-99.
OURS = {
    "AbandonedError", "DeniedError", "Interrupted", "RejectedError", "_ProblemError",
    "RedirectError", "_UnboundedError",
}  # fmt: skip
# click's own: they show how the command is used, and end with 2.
USAGE = {"BadParameter", "UsageError", "Exit"}


def walked(tree: ast.AST, inside: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Every node with the innermost function that it stands in."""
    for node in ast.iter_child_nodes(tree):
        yield node, inside
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from walked(node, node.name if is_function else inside)  # type: ignore[attr-defined]


NODES = [
    (module.relative_to(PACKAGE).as_posix(), node, function)
    for module in MODULES
    for node, function in walked(ast.parse(module.read_text(encoding="utf-8")))
]


def called(node: ast.AST) -> str:
    """What a call calls, by its last name; "" for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    named = node.func
    return named.attr if isinstance(named, ast.Attribute) else named.id if isinstance(named, ast.Name) else ""


def calls(*names: str) -> list[tuple[str, ast.Call, str]]:
    return [
        (file, node, function)
        for file, node, function in NODES
        if isinstance(node, ast.Call) and called(node) in names
    ]


def begins_with_a_code(text: ast.expr) -> bool:
    """Whether an expression is text that begins with a code, literally or by a value called `code`."""
    if isinstance(text, ast.Constant):
        return bool(CODED.match(str(text.value)))
    if not isinstance(text, ast.JoinedStr) or not text.values:
        return False
    first = text.values[0]
    if isinstance(first, ast.Constant):
        return begins_with_a_code(first)
    shown = first.value if isinstance(first, ast.FormattedValue) else None
    # The text of a CodedError begins with its code.
    return (isinstance(shown, ast.Attribute) and shown.attr == "code") or (
        isinstance(shown, ast.Name) and shown.id == "error"
    )


def test_what_is_said_on_stderr_is_coded_or_no_error() -> None:
    said = {
        (file, function)
        for file, node, function in calls("echo", "secho", "print")
        if any(
            (word.arg == "err" and getattr(word.value, "value", False)) or word.arg == "file"
            for word in node.keywords
        )
    }
    assert said == NO_ERRORS


def exceptions() -> dict[str, bool]:
    """The package's own exceptions, and whether each is a CodedError."""
    bases = {
        node.name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for _, node, _ in NODES
        if isinstance(node, ast.ClassDef)
    }

    def is_a(name: str, wanted: str) -> bool:
        return name == wanted or any(is_a(base, wanted) for base in bases.get(name, ()))

    return {
        name: is_a(name, "CodedError")
        for name in bases
        if is_a(name, "Exception") or is_a(name, "CodedError")
    }


def test_only_coded_errors_and_usage_leave_the_package_as_exceptions() -> None:
    """What is raised anywhere is coded, Python's own, how a command is used, or for ourselves."""
    known = exceptions()
    assert {name for name, coded in known.items() if not coded} == OURS
    raised = {
        (called(node.exc), file)
        for file, node, _ in NODES
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    assert {file.split("/")[0] for name, file in raised if name in USAGE} == {"cli"}
    # A name with a small letter is a function that makes one of these.
    others = {name for name, _ in raised if name.lstrip("_")[:1].isupper()}
    # Dagster's, which begins with a code; httpcore's and httpx's, which `client` turns into RS-NET-01 and
    # RS-PAGE-02.
    foreign = {"Failure", "ConnectError", "DecodingError"}
    assert others - known.keys() - USAGE - set(dir(builtins)) == foreign


def test_a_failure_of_a_run_and_what_stands_in_its_log_begin_with_a_code() -> None:
    failures = calls("Failure")
    assert failures
    for file, node, _ in failures:
        text = node.args[0]
        assert begins_with_a_code(text) or called(text) == "_why", (file, node.lineno)
    logged = [
        (file, node)
        for file, node, _ in calls("error", "warning", "exception", "critical")
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value).endswith("log")
    ]
    assert logged
    for file, node in logged:
        assert begins_with_a_code(node.args[0]), (file, node.lineno)
    for file, node, _ in calls("report_run_failed"):
        assert begins_with_a_code(node.args[1]), (file, node.lineno)


def test_a_tick_that_does_nothing_says_why_not_with_a_code_if_that_is_an_error() -> None:
    no_errors = {
        "The partitions are the tenants of the registry.",
        "There is no tenant in the region ",
        "The window is not open in the region ",
        "Nothing is to be asked for now: ",
        "The watch: ",  # what it found has its code
        "Alerts: ",  # so has what they told, and a channel that does not work
    }
    reasons = [(file, node.args[0]) for file, node, _ in calls("SkipReason")]
    assert reasons
    for file, reason in reasons:
        first = reason.values[0] if isinstance(reason, ast.JoinedStr) else reason
        harmless = isinstance(first, ast.Constant) and first.value in no_errors
        assert harmless or begins_with_a_code(reason), (file, ast.unparse(reason))


def test_every_code_that_the_source_names_is_in_the_catalogue() -> None:
    named = {
        code
        for _, node, _ in NODES
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for code in CODED.findall(node.value)
    }
    assert len(named) > 70
    assert named <= set(CATALOGUE)


# -------------------------------------------------------------------------------- what commands say


@pytest.mark.parametrize(
    "code, words",
    [
        ("RS-CFG-08", ["tenants", "show", "nobody"]),
        ("RS-CFG-08", ["tenants", "remove", "nobody"]),
        ("RS-CFG-08", ["check", "nobody"]),
        ("RS-CFG-08", ["sync", "nobody"]),
        ("RS-CFG-08", ["syncs", "nobody"]),
        ("RS-CFG-08", ["export", "nobody", "--out", "x.zip"]),
        ("RS-CFG-09", ["tenants", "apply", "nowhere.yaml"]),
        ("RS-CFG-09", ["check", "town", "--document", "nowhere.yaml"]),
        ("RS-CFG-01", ["tenants", "apply", "typo.yaml"]),
        ("RS-FILE-01", ["sandbox", "typo.yaml"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_ends_with_an_error_says_its_code_and_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("typo.yaml").write_text(
        "tenant: town\nregion: US\nregoin: US\nproviders:\n- {name: a, kind: oneroster_csv, path: a}\n",
        encoding="utf-8",
    )
    told = CliRunner().invoke(main, words)
    assert (told.exit_code, told.stdout) == (2, "")
    assert code in told.stderr.splitlines()[0]
    assert CATALOGUE[code].cure in told.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "url",
    ["nonsense://us:pw@nowhere", "just words", "mysql://us:pw@nowhere/db", "postgresql+no://us:pw@h/db"],
)
@pytest.mark.parametrize(
    "words", [["tenants", "list"], ["check", "town"], ["syncs", "town"], ["db", "upgrade"]], ids=" ".join
)
def test_an_address_that_is_no_roster_database_has_a_code_with_every_command(
    monkeypatch: pytest.MonkeyPatch, url: str, words: list[str]
) -> None:
    monkeypatch.setenv("ROSTER_DATABASE_URL", url)
    told = CliRunner().invoke(main, words)
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.splitlines() == [
        "RS-DB-01: ROSTER_DATABASE_URL is no address that begins with postgresql:// or sqlite:///.",
        f"  {CATALOGUE['RS-DB-01'].cure}",
    ]


@pytest.mark.parametrize(
    "url, told", [("nonsense://us:pw@nowhere", "No kind of lake"), ("s3://bucket/lake", "is not installed")]
)
def test_an_address_that_is_no_lake_has_a_code(url: str, told: str) -> None:
    if url.startswith("s3") and find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    with pytest.raises(CodedError, match=told) as refused:
        Lake(url).facts("town", "current_sessions")
    assert refused.value.code == "RS-DB-03"
    assert "pw" not in refused.value.message

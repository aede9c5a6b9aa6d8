"""Shows that each option's proofs prove it: `python -m roster_pipeline_tests.ignoring [OPTION…]`.

For every option of `docs/options.md` the tests that the page names are run with the option ignored, until
one fails; then that one as the code is, where it must pass. That the others pass as well, `make test` shows.
Ignored means: wherever the code reads it, it finds the default; documents are validated as ever. Half of the
options in each of two processes, which collect once.

Ends with 0 if every option's proof fails without it. Required options are listed and left out: without
them there is no provider and no tenant, and so nothing that the code could go on with.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from _pytest.runner import runtestprotocol
from pydantic import BaseModel

from roster_pipeline.rosters.source import Source
from roster_pipeline_tests import rosters
from roster_pipeline_tests.options_page import PAGE, TESTS, Option, default_of, is_required, options

JOBS: Final = 2


@dataclass
class Result:
    """What became of one option's proofs."""

    option: Option
    killed_by: str = ""
    sound: bool = True
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """One word."""
        return "BROKEN" if not self.sound else "killed" if self.killed_by else "SURVIVED"


@contextmanager
def ignored(option: Option) -> Iterator[None]:
    """Inside, whoever reads the option finds its default, in this sync and of the last one."""
    model, name = option.model, option.field
    default = default_of(option.info)
    remembered, dumped = Source.was, BaseModel.model_dump

    def was(self: Source, asked: str, default_: Any = None, **named: Any) -> Any:
        return default if asked == name else remembered(self, asked, named.get("default", default_))

    def dump(self: BaseModel, **how: Any) -> dict[str, Any]:
        values = dumped(self, **how)
        if type(self) is model and name in values:
            values[name] = list(default) if isinstance(default, tuple) else default
        return values

    # A property wins over what an instance holds, so every reader meets it.
    type.__setattr__(model, name, property(lambda self: default))
    BaseModel.model_dump = dump  # type: ignore[method-assign]
    if name in {"respect_academic_sessions", "compatibility_mode"}:
        Source.was = was  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        type.__delattr__(model, name)
        BaseModel.model_dump = dumped  # type: ignore[method-assign]
        Source.was = remembered  # type: ignore[method-assign]


@dataclass
class Ignoring:
    """A pytest plug-in that runs the collected tests option by option instead of once each."""

    wanted: Sequence[Option]
    say: Callable[[str], None]
    results: list[Result] = field(default_factory=list)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs each option's tests with the option ignored, and what fails once more as it is."""
        for option in self.wanted:
            items = [item for item in session.items if _proves(item, option)]
            began = time.perf_counter()
            result = Result(option)
            with ignored(option):
                killer = self._first_failure(items)
            if killer:
                result.killed_by = killer.nodeid.removeprefix(f"{TESTS.name}/")
                result.sound = self._first_failure([killer]) is None
            result.seconds = time.perf_counter() - began
            self.results.append(result)
            by = result.killed_by or ("no test" if not items else "")
            self.say(f"{result.verdict:9} {option.label:45} {result.seconds:5.1f} s  {by}")
        return True

    def _first_failure(self, items: Sequence[pytest.Item]) -> pytest.Item | None:
        """The test that fails first, or None; everything that tests share is made anew."""
        rosters._BEGUN.clear()
        try:
            for place, item in enumerate(items):
                following = items[place + 1] if place + 1 < len(items) else None
                reports = runtestprotocol(item, log=False, nextitem=following)
                if any(report.failed for report in reports):
                    return item
        finally:
            if items:
                items[0].session._setupstate.teardown_exact(None)
            rosters._BEGUN.clear()
        return None


def _say(text: str) -> None:
    # The real one: pytest keeps what is printed while it runs.
    print(text, file=sys.__stdout__, flush=True)


def _proves(item: pytest.Item, option: Option) -> bool:
    name = item.nodeid.partition("[")[0].removeprefix(f"{TESTS.name}/")
    return name in option.proofs


def _wanted(names: Sequence[str]) -> list[Option]:
    """The options with these names (`merge.key`, or `Merge.key`), all of them if none is given."""
    every = options(PAGE.read_text("utf-8"))
    return [one for one in every if not names or one.name in names or one.label in names]


def prove(labels: Sequence[str]) -> list[str]:
    """The verdicts on these options, one each; those of a process of its own."""
    plugin = Ignoring([one for one in _wanted(labels) if one.label in labels], say=_say)
    nodes = dict.fromkeys(f"{TESTS}/{proof}" for one in plugin.wanted for proof in one.proofs)
    quiet = ["-qq", "--no-header", "--no-summary", "--capture=sys", "-p", "no:cacheprovider"]
    code = pytest.main([*quiet, *nodes], plugins=[plugin])
    return [result.verdict for result in plugin.results if not code]


def main(names: Sequence[str]) -> int:
    """Proves the options with these names, all of them if none is given, in two processes at once."""
    every = _wanted(names)
    left_out = [one.label for one in every if is_required(one)]
    wanted = [one.label for one in every if not is_required(one)]
    began = time.perf_counter()
    with ProcessPoolExecutor(JOBS, mp_context=multiprocessing.get_context("spawn")) as pool:
        halves = [half for place in range(JOBS) if (half := wanted[place::JOBS])]
        verdicts = [verdict for told in pool.map(prove, halves) for verdict in told]
    killed = verdicts.count("killed")
    _say(
        f"{killed} of {len(wanted)} options: ignored, and their proof fails; "
        f"{len(left_out)} required ones left out: {', '.join(left_out)}; "
        f"{time.perf_counter() - began:.0f} s"
    )
    return 0 if wanted and killed == len(verdicts) == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

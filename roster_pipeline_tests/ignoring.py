"""Shows that each option's proofs prove it: `python -m roster_pipeline_tests.ignoring [OPTION…]`.

For every option of `docs/options.md` the tests that the page names are run twice: as the code is, where
they must pass, and with the option ignored, where at least one must fail. Ignored means: wherever the
code reads it, it finds the default; documents are validated as ever. One process, one collection.

Ends with 0 if every option's proof fails without it. Required options are listed and left out: without
them there is no provider and no tenant, and so nothing that the code could go on with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from pydantic import BaseModel

from roster_pipeline.rosters.source import Source
from roster_pipeline_tests import rosters
from roster_pipeline_tests.options_page import PAGE, TESTS, Option, default_of, is_required, options


@dataclass
class Result:
    """What became of one option's proofs."""

    option: Option
    sound: bool
    killed_by: str = ""
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
        """Runs each option's tests as they are, and with the option ignored."""
        for option in self.wanted:
            items = [item for item in session.items if _proves(item, option)]
            began = time.perf_counter()
            failed = self._first_failure(items)
            result = Result(option, sound=bool(items) and failed is None)
            if result.sound:
                with ignored(option):
                    killer = self._first_failure(items)
                result.killed_by = killer or ""
            result.seconds = time.perf_counter() - began
            self.results.append(result)
            by = result.killed_by or failed or ("no test" if not items else "")
            self.say(f"{result.verdict:9} {option.label:45} {result.seconds:5.1f} s  {by}")
        return True

    def _first_failure(self, items: Sequence[pytest.Item]) -> str | None:
        """The test that fails first, or None; everything that tests share is made anew."""
        rosters._BEGUN.clear()
        try:
            for place, item in enumerate(items):
                following = items[place + 1] if place + 1 < len(items) else None
                reports = runtestprotocol(item, log=False, nextitem=following)
                if any(report.failed for report in reports):
                    return item.nodeid.removeprefix(f"{TESTS.name}/")
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


def main(names: Sequence[str]) -> int:
    """Runs the options with these names (`merge.key`, or `Merge.key`), all of them if none is given."""
    every = [
        one
        for one in options(PAGE.read_text("utf-8"))
        if not names or one.name in names or one.label in names
    ]
    left_out = [one for one in every if is_required(one)]
    plugin = Ignoring([one for one in every if one not in left_out], say=_say)
    nodes = dict.fromkeys(f"{TESTS}/{proof}" for one in plugin.wanted for proof in one.proofs)
    began = time.perf_counter()
    quiet = ["-qq", "--no-header", "--no-summary", "--capture=sys", "-p", "no:cacheprovider"]
    code = pytest.main([*quiet, *nodes], plugins=[plugin])
    killed = sum(result.verdict == "killed" for result in plugin.results)
    _say(
        f"{killed} of {len(plugin.results)} options: ignored, and their proof fails; "
        f"{len(left_out)} required ones left out: {', '.join(one.label for one in left_out)}; "
        f"{time.perf_counter() - began:.0f} s"
    )
    return 0 if plugin.results and killed == len(plugin.wanted) and not code else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

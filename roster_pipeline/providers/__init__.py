"""The kinds of sources: one file a kind, one line in `KINDS`.

A kind's file offers `read` (a `reading.Reader`) and `probe`. It is imported when it is first used:
a tenant with files alone never loads what speaks HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from roster_pipeline.providers.reading import CollectionRead, Reading, Sink


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source, by the module that knows it."""

    module: str

    def __call__(self, source: Any, sink: Sink, reading: Reading) -> list[CollectionRead]:
        """Reads every collection of `source` (a provider or a directory of this kind) into `sink`."""
        found: list[CollectionRead] = self._module.read(source, sink, reading)
        return found

    def probe(self, source: Any, reading: Reading) -> list[CollectionRead]:
        """For `check`: what a first look at each collection shows (of REST kinds: a `Probed`)."""
        found: list[CollectionRead] = self._module.probe(source, reading)
        return found

    @property
    def _module(self) -> Any:
        return import_module(f"{__name__}.{self.module}")


KINDS: Final[dict[str, Kind]] = {
    "powerschool": Kind("powerschool"),
    "classlink": Kind("classlink"),
    "oneroster": Kind("oneroster"),
    "oneroster_csv": Kind("oneroster_csv"),
    "directory": Kind("directory"),
}


def probe(provider: Any, reading: Reading) -> list[CollectionRead]:
    """For `check`: what a first look at each of the provider's collections shows."""
    return KINDS[provider.kind].probe(provider, reading)

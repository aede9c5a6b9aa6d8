"""Where a deployment keeps its things: the home folder, and the addresses of both stores.

Read once by whoever starts (a command, the code server), never at import.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from roster_pipeline.store.lake import Lake


@dataclass(frozen=True, slots=True)
class Home:
    """The folder `ROSTER_HOME` (default `.roster`), `ROSTER_DATABASE_URL` and `ROSTER_LAKE_URL`."""

    folder: Path
    database_url: str
    lake_url: str

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Home:
        """The home that the environment names; makes its folder."""
        folder = Path(environ.get("ROSTER_HOME") or ".roster").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return cls(
            folder=folder,
            database_url=environ.get("ROSTER_DATABASE_URL") or f"sqlite:///{folder / 'roster.db'}",
            lake_url=environ.get("ROSTER_LAKE_URL") or str(folder / "lake"),
        )

    def set_dagster_home(self, environ: MutableMapping[str, str], instance_file: str) -> None:
        """Points `DAGSTER_HOME` at a folder below this home, unless the operator has set it.

        Args:
            environ: The process's environment, changed in place (Dagster reads nothing else).
            instance_file: The text of `dagster.yaml` for a folder that has none yet.
        """
        environ.setdefault("ROSTER_HOME", str(self.folder))
        if environ.get("DAGSTER_HOME"):
            return
        folder = self.folder / "dagster"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "dagster.yaml").exists():
            (folder / "dagster.yaml").write_text(instance_file, encoding="utf-8")
        environ["DAGSTER_HOME"] = str(folder)

    def stores(self) -> Stores:
        """Opens both stores; a SQLite database is created and upgraded here."""
        import pyarrow as pa

        from roster_pipeline.store.database import open_database
        from roster_pipeline.store.lake import Lake

        # Arrow's own choice keeps more of what was given back: a tenth of a large tenant's peak.
        pa.set_memory_pool(pa.system_memory_pool())
        return Stores(database=open_database(self.database_url), lake=Lake(self.lake_url))


@dataclass(frozen=True, slots=True)
class Stores:
    """Both stores, open."""

    database: Engine
    lake: Lake

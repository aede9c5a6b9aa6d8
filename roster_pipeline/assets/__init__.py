"""What Dagster materialises: one file a layer, each thin: ask the sync for a step, report what it told.

What a step does is in `roster_pipeline.syncs` and the rules below it; nothing is computed here.
Docstrings of assets are read in the UI, by whoever is on call.
"""

from __future__ import annotations

from typing import Final

import dagster as dg

from roster_pipeline.assets.current import current_enrolments, current_sessions
from roster_pipeline.assets.identities import merged_identities
from roster_pipeline.assets.raw import RAW_ASSETS
from roster_pipeline.assets.rosters import published_rosters

ASSETS: Final[list[dg.AssetsDefinition]] = [
    *RAW_ASSETS,
    current_sessions,
    current_enrolments,
    merged_identities,
    published_rosters,
]

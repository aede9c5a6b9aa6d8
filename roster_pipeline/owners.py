"""Who answers for what Dagster shows. A team, and nobody by name: it stands in every list."""

from __future__ import annotations

import warnings
from typing import Final

import dagster as dg

OWNERS: Final = ["team:rosters"]
"""Of every asset, job, schedule and sensor. Dagster knows none of a check: its asset's are meant."""

# That a job, schedule or sensor may have owners is a beta in Dagster, and announced each time one is made,
# also in runs and long after the import. This one parameter is taken note of here; a test fails if it goes.
warnings.filterwarnings("ignore", r"Parameter `owners` of ", dg.BetaWarning)

"""`python -m roster_pipeline.sandbox` is `roster-pipeline sandbox`: the server as a process of its own."""

from __future__ import annotations

import sys

from roster_pipeline.cli import main

if __name__ == "__main__":
    main(["sandbox", *sys.argv[1:]], prog_name="roster-pipeline")

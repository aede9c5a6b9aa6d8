"""`python -m roster_pipeline.sandbox` is `roster-pipeline sandbox`: the server as a process of its own."""

from __future__ import annotations

from roster_pipeline.cli.sandbox import sandbox

if __name__ == "__main__":
    sandbox(prog_name="roster-pipeline sandbox")

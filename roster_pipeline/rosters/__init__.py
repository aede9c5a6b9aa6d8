"""The rules: pure functions over DataFrames. Nothing here fetches, stores or knows Dagster.

`current` says which sessions, classes, enrolments and users count today; `schools` and
`completeness` which schools are complete; `identities` who is who; `plan` what changes in the
published roster and what must wait (`safeguards`, `holds`, and why it looks so: `suspicions`);
`rekeyed` what came under new ids; `outcome` what a sync tells.

Frames hold strings, never nulls: "" is a missing value, dates are ISO texts, truth is "true",
"false" or "". A row that is dropped keeps its place and has a `reason`; "" means kept.
"""

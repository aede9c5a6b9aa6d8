"""SIGKILL at random instants of syncs, while readers poll: `python -m roster_pipeline_tests.kills`.

`nights` has the two rosters between which syncs change, `readers` who looks on, `instants` a killed sync
and the next one, `commands` the same for `roster-pipeline sync`. What is killed at chosen moments is in
`graph/test_kills.py`.
"""

"""Every fault with every kind of provider, as a first and a later sync, on one page and many, in both stores.

`python -m roster_pipeline_tests.fault_matrix` runs whole syncs against the real sandbox over loopback, and
against files, and looks after each one at what nobody may lose, merge or double. What may go wrong is in
`servers` and `exports`, with what a sync must tell of it; who is who in `district`; a run in `running`.
"""

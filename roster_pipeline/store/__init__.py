"""The stores: the lake (Parquet) and the roster database (tables), and nothing that decides.

What a sync may remove is decided in `rosters`; here it is written, in one transaction a tenant.
"""

"""Alerts: how each tenant is doing, which changes of that are worth telling, and how they are told.

`conditions` and `messages` are pure; `settings` is the operator's document, `channels` send, and `rounds`
carries one look at the ledger from what was found to what was delivered. The ledger is read, and what was
told written down, by `store.alerts`.
"""

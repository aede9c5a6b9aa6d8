"""The OneRoster protocol: authentication, client, paging, CSV, collections, vocabulary.

Here belongs what the specification says and what servers make of it. What a provider kind adds
belongs in `providers`; what is done with the rows belongs in `rosters`.
"""

"""What a tenant is: its document and options, its nights, its secrets, and the registry of all.

`document` reads and refuses documents, `registry` stores them, `nights` tells which day a sync is
for, `secrets` resolves references. Nothing here reads a provider or decides about a roster.
"""

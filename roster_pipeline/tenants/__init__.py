"""What a tenant is: its document and options, its secrets, and the registry of all.

`document` reads and refuses documents, `registry` stores them, `secrets` resolves references. Nothing here
reads a provider or decides about a roster.
"""

"""A OneRoster server to try and test against, and the districts that it serves.

Here belongs whatever stands in for a school's system: sources of rows, what each flavour of server
does, its authentication, and its misbehaviour. Nothing here is used by a sync; it shares no code
with the client, the CSV reader or the signing of `oneroster`, so that a mistake there is not
repeated here and thereby hidden. Importing any of it opens nothing.
"""

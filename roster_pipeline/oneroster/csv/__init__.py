"""OneRoster's CSV binding: reading a folder or zip, and writing a bulk package.

- `rows`: one CSV file as batches of text, and what is wrong with it.
- `package`: a folder or a zip, opened safely, and its manifest.
- `headers`: the columns of each file, and what is wrong with others.
- `reading`: the six collections in the canonical columns of `oneroster.collections`.
- `writing`: a OneRoster 1.2 bulk package.

Which provider a package belongs to is said in `providers`; what its rows mean, in `rosters`.
"""

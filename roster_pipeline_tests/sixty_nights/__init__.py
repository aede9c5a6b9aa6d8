"""A tenant's sixty nights with real stores and real files, against the oracle of the rules.

`world` makes the tenant and what happens in its schools, `exports` the files that its providers leave
every night, with their faults, `nights` decides on what waits, undoes, runs night after night and
compares, `invariants` are those of architecture.md, checked after each night without the oracle;
`worlds` is one of them in a process of its own.
"""

"""The rules of product.md once more, to compare the pipeline with: plain Python, slow, row after row.

They were written from product.md (and, where that points there, oneroster.md §4.1, §6 and §7) alone, know
nothing of `roster_pipeline.rosters`, and quote the sentence above what does it: `tonight` which rows
count on the day and which schools are kept back, `matching` who is who, `people` and `publishing` what
is published, what waits and what a sync tells, `register` what the next night knows, `new_ids` (by
docs/holds.md) who is recognised under a new id, `set_back` (by issue 4) what an undo does. `tenants` and
`changes` make tenants and nights up, `comparing` runs both and compares.
"""

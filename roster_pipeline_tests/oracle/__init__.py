"""The rules of product.md once more: plain Python, slow, one row after the other, to compare the pipeline
with.

`tonight` says which rows count on the day and which schools are kept back, `matching` who is who,
`publishing` what is published and what a sync tells. They were written from product.md (and, where that
points there, oneroster.md §6 and §7) alone, know nothing of `roster_pipeline.rosters`, and quote the sentence
above what does it. `tenants` makes tenants up, `comparing` runs both and compares."""

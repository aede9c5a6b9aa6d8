"""The pipeline and a second telling of the rules agree, on tenants made up at random, night after night.

What is compared, and the rules once more: `roster_pipeline_tests/oracle`. Thousands of tenants:
`python -m roster_pipeline_tests.oracle --tenants 3000`.
"""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline_tests.oracle.comparing import Run, compare

# Numbers of tenants cannot be shrunk: a smaller number is another tenant, not a smaller one.
PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, phases=PHASES)
@given(number=st.integers(0, 2**40))
def test_the_pipeline_says_what_the_page_says(number: int):
    run = Run()
    compare(number, 3, run)
    assert not run.differences, "\n".join(run.differences)
    hypothesis.event("the page is silent" if run.silent else "compared whole")

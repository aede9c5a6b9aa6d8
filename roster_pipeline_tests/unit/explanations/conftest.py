"""What the tests of the explanations share."""

from roster_pipeline_tests.rosters import plain_strings

__all__ = ["plain_strings"]

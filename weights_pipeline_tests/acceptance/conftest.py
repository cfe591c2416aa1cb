"""Fixtures of tests of the whole: desks, empty and with finished histories."""

from weights_pipeline_tests.support.finished import desk, finished, finished_weekly  # noqa: F401
from weights_pipeline_tests.support.once import once  # noqa: F401

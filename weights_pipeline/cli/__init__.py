"""The command line ``weights``: thin over the same functions that Dagster runs.

Scope: arguments, tables, progress and exit codes. Not here: any computation. Read-only commands import neither Dagster
nor pandas until they need them, so that an answer comes at once.

Exit codes: 0 done; 1 a run or a check failed; 2 the command or its input is not valid; 3 there is nothing to show; 4 a
signal was rejected.
"""

from weights_pipeline.cli.app import main

__all__ = ["main"]

"""From a trade ledger to capital weights.

Scope: rooms, each importing only those below it. ``core`` is the science; ``tables``, ``books``, ``ledger``, ``store``
and ``versions`` say what is stored, by which policy, from which trades, and where; ``orchestration`` is all of Dagster;
``cli`` is the command line.
"""

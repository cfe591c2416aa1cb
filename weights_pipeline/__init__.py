"""From a trade ledger to capital weights.

Layers, each importing only the ones before it: ``core`` (the science), ``books`` (policies), ``ledger`` and
``store`` (files and databases), the Dagster orchestration (``assets``, ``checks``, ``definitions`` …) and ``cli``.
"""

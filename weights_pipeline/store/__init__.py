"""Persistence: table definitions, the write contract, DuckDB and its Dagster IO manager.

Here belongs everything that knows files and databases. Here do not belong formulas: a hard limit on weights is a
function of ``core`` that a table definition names as its gate.
"""

"""All of Dagster: assets, checks, partitions, schedules, sensors, jobs, runs.

Scope: the one room that imports Dagster, thin over the others. Not here: formulas, SQL, files.
"""

"""Books: capital-allocation policies as validated YAML.

Scope: the policy model, its cadences, the files it names, and their loading. Not here: formulas (``core``).
"""

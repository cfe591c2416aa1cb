"""Assets: load, call one function of ``core``, return with metadata.

Scope: orchestration, thin enough to read in one sitting. Not here: formulas (``core``), and how tables are stored
(``store``).
"""

"""Assets: load, call one function of ``core``, return with metadata.

Here belongs orchestration, thin enough to read in one sitting. Here do not belong formulas (``core``), nor how tables
are stored (``store``).
"""

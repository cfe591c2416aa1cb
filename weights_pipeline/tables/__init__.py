"""What is stored: the definition of every table, and the contract that a frame written to one has to meet.

Scope: columns, keys, gates and errors. Not here: how rows are kept (``store``).
"""

"""The one error of everything that reads a ledger.

Here belongs nothing else: what is wrong with a single row is no error but a fault, and in ``core``.
"""


class LedgerError(ValueError):
    """A ledger source, or a file it names, cannot be used; the message says what to correct, and where."""

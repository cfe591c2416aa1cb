"""A desk of one's own: the folder that everything starts from, and a book in it.

Scope: which files there are, and what stands in them. Not here: the command that asks for them, nor the clock.
"""

from weights_pipeline.scaffold.desk import (
    Found,
    ScaffoldError,
    book_file,
    desk_files,
    found_in,
    sample_files,
    write_new,
)

__all__ = ["Found", "ScaffoldError", "book_file", "desk_files", "found_in", "sample_files", "write_new"]

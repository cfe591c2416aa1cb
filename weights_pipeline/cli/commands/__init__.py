"""The commands, one file each: its options (``add``), what it does, and what it alone prints.

Scope: one command a file. Not here: any computation. Each imports what it needs when it runs, so that a quick command
is not slowed down by the imports of another.
"""

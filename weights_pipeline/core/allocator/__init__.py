"""The allocator: state, sticky regime, smoothed risk scalar, and its application.

Scope: recursions over sessions, their documents and the threshold study.
"""

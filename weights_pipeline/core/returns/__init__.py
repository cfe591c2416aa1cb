"""From lots to daily returns.

Scope: sessions, matching, capital, returns booked on exit or marked to market, aligned arrays. Not here: files.
"""

"""From daily returns to metrics of each strategy.

Scope: lookbacks, exact kernels of rolling statistics, measures with their null rules, the build-up of young strategies.
"""

"""Charts: tables of the chain, drawn.

Scope: turning a frame into a figure, one file per subject; ``style`` holds what they share. Not here: formulas
(``core``), and where a chart is shown (``orchestration.assets``, ``report``). Matplotlib is imported by the functions
that draw, so that nothing pays for it that draws nothing.
"""

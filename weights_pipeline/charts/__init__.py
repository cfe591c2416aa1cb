"""Charts: tables of the chain, drawn.

Here belongs turning a frame into a figure, one file per subject; ``style`` holds what they share. Here do not belong
formulas (``core``), nor where a chart is shown (``assets``, ``report``). Matplotlib is imported by the functions that
draw, so that nothing pays for it that draws nothing.
"""

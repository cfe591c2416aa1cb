"""A notebook, run as a reader would run it: cell after cell in one namespace; `make tutorial` stores what comes out.

Scope: what cells print, the value of a cell's last expression, figures. Not here: a kernel. Cells are plain Python, so
that they need none.
"""

import ast
import base64
import contextlib
import io
import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.ipynb"


def run(notebook: dict) -> dict:
    """The notebook with the outputs of a run."""
    names: dict = {"__name__": "__main__"}
    cells, count = [], 0
    with mpl.rc_context({"backend": "agg"}):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                count += 1
                cell = cell | {"execution_count": count, "outputs": outputs("".join(cell["source"]), names, count)}
            cells.append(cell)
    return notebook | {"cells": cells}


def outputs(source: str, names: dict, count: int) -> list[dict]:
    """What one cell prints, gives and draws, in that order."""
    *body, last = ast.parse(source).body
    found, printed, value = [], io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(body, []), f"cell {count}", "exec"), names)
            value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), names)
        else:
            exec(compile(ast.Module([*body, last], []), f"cell {count}", "exec"), names)
    if printed.getvalue():
        found.append({"name": "stdout", "output_type": "stream", "text": lines(printed.getvalue())})
    figures = [plt.figure(number) for number in plt.get_fignums()]
    if value is not None and not figures:
        given = {"text/plain": lines(repr(value))}
        found.append({"data": given, "execution_count": count, "metadata": {}, "output_type": "execute_result"})
    for figure in figures:
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=80, metadata={"Software": None})
        shown = {"image/png": base64.b64encode(drawn.getvalue()).decode(), "text/plain": ["<Figure>"]}
        found.append({"data": shown, "metadata": {}, "output_type": "display_data"})
    plt.close("all")
    return found


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    stored = run(json.loads(TUTORIAL.read_text(encoding="utf-8")))
    TUTORIAL.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

"""The report of a book: processor time of the whole command, against Matplotlib's own drawing of the same panels.

The store is that of the sample's first book. A process imports, reads, checks, compares, draws and writes. The bare
drawing is what it takes to import Matplotlib and to save the panels as SVG once they are there.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import dagster as dg

from weights_pipeline.orchestration.runs import materialise
from weights_pipeline.settings import Settings
from weights_pipeline.workspace import Workspace

BOOK = "calmar_core"
DATA = Path(__file__).resolve().parents[1] / "data"
AIMS = {"html": "≤ 6 s, ≤ 600 kB", "pdf": ""}

_TIMED = """
import json, sys, time
begun = time.process_time()
import matplotlib.backends.backend_svg, matplotlib.figure
bare = [time.process_time() - begun]
save = matplotlib.figure.Figure.savefig
def timed(*given, **named):
    begun = time.process_time()
    save(*given, **named)
    bare.append(time.process_time() - begun)
matplotlib.figure.Figure.savefig = timed
from weights_pipeline.cli import main
try:
    main(["report", "--json", *sys.argv[1:]])
except SystemExit as ended:
    assert not ended.code, ended
print(json.dumps({"whole": time.process_time(), "bare": sum(bare), "panels": len(bare) - 1}), file=sys.stderr)
"""


def run(quick: bool = False) -> list[dict[str, object]]:
    """Rows of results, a form of the file each: medians of processes, and their ratio to the bare drawing."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = Settings(data=DATA, home=home)
        with dg.DagsterInstance.ephemeral() as instance:
            made = materialise(
                Workspace(settings), BOOK, "2012-01-01", "2012-06-01" if quick else None, instance=instance
            )
        if not made.success:
            raise RuntimeError("; ".join(made.errors))
        environment = os.environ | {"WEIGHTS_DATA": str(DATA), "WEIGHTS_HOME": str(home)}
        rows = []
        for form, aim in [*AIMS.items()][: 1 if quick else None]:
            file = home / f"report.{form}"
            command = [sys.executable, "-c", _TIMED, "--book", BOOK, "--format", form, "--out", str(file)]
            timed = []
            for _ in range(1 if quick else 5):
                ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
                timed.append(json.loads(ended.stderr.splitlines()[-1]))
            whole, bare = (statistics.median(each[of] for each in timed) for of in ("whole", "bare"))
            rows.append(
                {
                    "what": f"weights report --format {form}",
                    "panels": timed[0]["panels"],
                    "cpu_s": whole,
                    "bare_drawing_s": bare,
                    "ratio": whole / bare,
                    "kb": file.stat().st_size / 1000,
                    "aim": aim,
                }
            )
    return rows

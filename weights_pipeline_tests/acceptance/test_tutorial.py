"""The tutorial: its cells run, in order, and give what is stored in it."""

import json

from weights_pipeline_tests.support.notebook import TUTORIAL, run


def said(notebook):
    """Code of each cell with what it prints and gives; figures count, not how they look."""
    return [
        ("".join(cell["source"]), [output.get("text") or output["data"]["text/plain"] for output in cell["outputs"]])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def test_a_run_of_the_tutorial_gives_what_is_stored_in_it():
    stored = json.loads(TUTORIAL.read_text(encoding="utf-8"))
    assert said(run(stored)) == said(stored)
    kinds = [output["output_type"] for cell in stored["cells"] for output in cell.get("outputs", [])]
    assert kinds[-1] == "display_data"

"""The command line called in this process, and what a statement loads in a new one."""

import contextlib
import io
import subprocess
import sys

from weights_pipeline.cli import main


class Screen(io.StringIO):
    """Output that says it is a terminal."""

    def isatty(self):
        return True


class Result:
    """What a command printed, to a program that reads or to a screen, and its exit code."""

    def __init__(self, *arguments, to=io.StringIO):
        output, errors = to(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                main(arguments)
            except SystemExit as end:
                self.exit_code = end.code
        self.output, self.errors = output.getvalue(), errors.getvalue()


def loaded_by(*statements: str) -> list[set[str]]:
    """Packages that a new process has loaded after each statement."""
    code = "".join(f"{each}\nprint(*(m for m in sys.modules if '.' not in m))\n" for each in statements)
    command = [sys.executable, "-c", f"import sys\n{code}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [set(line.split()) for line in said.splitlines()]

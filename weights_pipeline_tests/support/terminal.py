"""A command in a terminal of its own, as a person sees it."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

SCRIPT = [sys.executable, "-c", "from weights_pipeline.cli import main; main()"]


def seen(*arguments, columns, **environment):
    """Exit code and everything that a command of `weights` writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [*SCRIPT, *arguments], env=own | {"TERM": "xterm-256color"} | environment, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = bytearray()
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # All is read, and nobody has the terminal open any more.
        pass
    finally:
        os.close(ours)
    return process.wait(60), written.decode().replace("\r\n", "\n")

"""What a process computes with: the package to the last file, and the libraries whose versions may give other bits.

Scope: telling two processes apart. Not here: which science a stored number was made by (``versions.inputs``), which
says less: another reader of files is the same science, and none of its workers may differ.
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import weights_pipeline

_LIBRARIES: Final = ("clarabel", "exchange-calendars", "numpy", "pandas", "pyarrow")


@cache
def running_code() -> str:
    """Release and hash of the package's source, and the versions of Python, the processor's kind and the libraries."""
    root, content = Path(weights_pipeline.__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        content.update(f"{file.relative_to(root).as_posix()}\n".encode() + file.read_bytes())
    libraries = " ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)
    release = f"{metadata.version('weights-pipeline')}+{content.hexdigest()[:12]}"
    return f"{release} on Python {platform.python_version()} ({platform.machine()}), {libraries}"

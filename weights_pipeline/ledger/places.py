"""Where files are: in the data folder, or in a bucket of S3.

Scope: finding files by globs, and their bytes. A kind of place is a class here and a line in `PLACES`. Not here: what
is in a file (``files``), nor clients and what their failures mean (``aws``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute
import pyarrow.fs

from weights_pipeline import aws
from weights_pipeline.ledger.errors import LedgerError

_PIECE = 1 << 20
"""Bytes of a file that are read at a time, where it is not read whole."""


@dataclass(frozen=True)
class File:
    """One file, as it was found.

    Attributes
    ----------
    path
        What messages and tables call it.
    read
        Gives its bytes, or raises a :class:`LedgerError`.
    version
        ETag that the listing found, and that what is read has; empty where a place has none.
    stream
        Gives the same piece by piece, where a place can.
    at
        Where it is on this machine, if it is.
    """

    path: str
    read: Callable[[], bytes]
    version: str = ""
    stream: Callable[[], Iterator[bytes]] | None = None
    at: Path | None = None

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, a piece at a time."""
        if self.stream is not None:
            yield from self.stream()
            return
        data = self.read()
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]


class Place(Protocol):
    """A place that has files."""

    def find(self, pattern: str) -> Iterator[File]:
        """Yield files that a glob matches."""

    def at(self, path: str) -> File:
        """The file of a path, which need not be there."""

    def listed(self, pattern: str) -> Mapping[str, str]:
        """By path, what is another text once a file that a glob matches has changed; nothing is read."""


class Folder:
    """The data folder; paths are relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def find(self, pattern: str) -> Iterator[File]:
        """Yield files that a glob matches."""
        return map(self.at, self.listed(pattern))

    def listed(self, pattern: str) -> Mapping[str, str]:
        """Size and time of the last change of files that a glob matches; nothing is read."""
        parts = PurePosixPath(pattern).parts
        below = pyarrow.fs.FileSelector(_fixed(parts[:-1]), allow_not_found=True, recursive=True)
        found = {info.path: _changed(info) for info in self._files.get_file_info(below) if info.is_file}
        return {path: found[path] for path in _matching(found, "/".join(parts))}

    def at(self, path: str) -> File:
        """The file of a path, which need not be there."""
        return File(path, lambda: self._read(path), stream=lambda: self._pieces(path), at=self.root / path)

    def _read(self, path: str) -> bytes:
        with self._opened(path) as (file, size):
            data: bytes = file.read()  # whose size is known, so that it is there once
            size.append(len(data))
        return data

    def _pieces(self, path: str) -> Iterator[bytes]:
        with self._opened(path) as (file, size):
            while piece := file.read(_PIECE):
                size.append(len(piece))
                yield piece

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[pa.NativeFile, list[int]]]:
        """Open a file, to which sizes of all that was read are given back; refuse it where it changes meanwhile."""
        try:
            inside = (self.root / path).resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError) as error:
            raise LedgerError(f"{path}: leads nowhere: {error}") from error
        if not inside:
            raise LedgerError(f"{path}: leads out of the data folder {self.root}; keep the file itself inside it")
        try:
            before, sizes = self._files.get_file_info(path), list[int]()
            with self._files.open_input_file(path) as file:
                yield file, sizes
            after = self._files.get_file_info(path)
        except OSError as error:
            raise LedgerError(f"{path}: cannot be read from {self.root}: {error}") from error
        if _changed(before) != _changed(after) or sum(sizes) != after.size:
            raise LedgerError(f"{path}: was written to while the ledger was being read; start again")

    @property
    def _files(self) -> pyarrow.fs.FileSystem:
        return pyarrow.fs.SubTreeFileSystem(str(self.root.resolve()), pyarrow.fs.LocalFileSystem())


class Bucket:
    """Buckets of S3, by the standard ``AWS_*`` variables; paths are ``s3://BUCKET/KEY``.

    A listing is a snapshot: an object that has changed since it was listed is refused when it is read.
    """

    def __init__(self, root: Path) -> None:
        self._objects: dict[str, aws.S3Objects] = {}

    def __str__(self) -> str:
        return "S3"

    def find(self, pattern: str) -> Iterator[File]:
        """Yield objects that a glob matches."""
        bucket, _ = self._parts(pattern)
        for url, version in self.listed(pattern).items():
            yield self._file(self._bucket(bucket), self._parts(url)[1], version)

    def listed(self, pattern: str) -> Mapping[str, str]:
        """ETags of objects that a glob matches; nothing is read."""
        bucket, key = self._parts(pattern)
        objects, prefix = self._bucket(bucket), re.split(r"[*?]", key, maxsplit=1)[0]
        try:
            versions = dict(objects.list(prefix))
        except aws.ServiceError as error:
            raise LedgerError(f"{pattern}: {error}") from None
        return {objects.url(found): versions[found] for found in _matching(versions, key)}

    def at(self, path: str) -> File:
        """The object of a path, which need not be there."""
        bucket, key = self._parts(path)
        return self._file(self._bucket(bucket), key, None)

    def _file(self, objects: aws.S3Objects, key: str, version: str | None) -> File:
        return File(
            objects.url(key),
            lambda: self._read(objects, key, version),
            (version or "").strip('"'),
            lambda: self._pieces(objects, key, version),
        )

    def _pieces(self, objects: aws.S3Objects, key: str, version: str | None) -> Iterator[bytes]:
        """Content by way of a temporary file: what breaks off is fetched again before anybody has read of it."""
        with TemporaryFile(prefix="weights-object-") as file:
            self._read(objects, key, version, file)
            file.seek(0)
            while piece := file.read(_PIECE):
                yield piece

    @staticmethod
    def _read(objects: aws.S3Objects, key: str, version: str | None, into: BinaryIO | None = None) -> bytes:
        try:
            found = objects.get(key, into=into)
        except aws.ServiceError as error:
            raise LedgerError(str(error)) from None
        if found is None:
            raise LedgerError(f"{objects.url(key)}: there is no such object; correct the path or upload it")
        if version is not None and found[1] != version:
            raise LedgerError(f"{objects.url(key)}: was replaced while the ledger was being read; start again")
        return found[0]

    @staticmethod
    def _parts(path: str) -> tuple[str, str]:
        bucket, _, key = path.removeprefix("s3://").partition("/")
        return bucket, key

    def _bucket(self, name: str) -> aws.S3Objects:
        return self._objects.setdefault(name, aws.S3Objects(name))


PLACES: Mapping[str, Callable[[Path], Place]] = {"s3://": Bucket}
"""Places other than the data folder, by what their paths begin with."""


def file_at(root: Path, path: str) -> File:
    """The file of a path, which need not be there."""
    return _place(root, path).at(path)


def listed(root: Path, patterns: Iterable[str]) -> dict[str, str]:
    """By path, what is another text once a file that any of the globs matches has changed; nothing is read."""
    return {path: text for pattern in patterns for path, text in _place(root, pattern).listed(pattern).items()}


def _place(root: Path, path: str) -> Place:
    return PLACES.get(_beginning(path), Folder)(root)


def _beginning(path: str) -> str:
    return next((begin for begin in PLACES if path.startswith(begin)), "")


def find_files(root: Path, patterns: Iterable[str], key: str) -> list[File]:
    """Files that any of the globs matches, by path; a glob that matches none is an error."""
    places: dict[str, Place] = {"": Folder(root)}
    files: dict[str, File] = {}
    for pattern in patterns:
        begin = _beginning(pattern)
        place = places.setdefault(begin, PLACES[begin](root)) if begin else places[""]
        if not (found := {file.path: file for file in place.find(pattern)}):
            raise LedgerError(f"{key}: no file in {place} matches {pattern!r}; correct the path or add the file")
        files |= found
    return [files[path] for path in sorted(files)]


def _changed(info: pyarrow.fs.FileInfo) -> str:
    return f"{info.size}-{info.mtime_ns}"


def _fixed(folders: Iterable[str]) -> str:
    return "/".join(takewhile(lambda part: not set(part) & set("*?"), folders))


def _matching(paths: Iterable[str], pattern: str) -> list[str]:
    # Arrow's expressions take time in proportion to the text; with Python's, a few stars may take for ever.
    listed = pa.array(list(paths), pa.string())
    matched: list[str] = listed.filter(
        pyarrow.compute.match_substring_regex(listed, _glob_expression(pattern))
    ).to_pylist()
    return matched


def _glob_expression(pattern: str) -> str:
    wild = {"**/": "(?:.+/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    matched = "".join(wild.get(token) or re.escape(token) for token in tokens)
    return f"(?s)^{matched}$"

"""Looks at files that a configuration, or an operator, names."""

import os
import stat
from pathlib import Path

LARGEST_SECRET = 65_536


def found(path: Path) -> os.stat_result | None:
    """What is there; None: nothing is. Raises OSError where that cannot be told.

    `Path.exists()` no longer raises it from Python 3.14 on: a folder that may not be looked into would hold no file.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def is_file(there: os.stat_result) -> bool:
    return stat.S_ISREG(there.st_mode)


def file_problem(path: Path) -> str | None:
    """What keeps the file from being read, or None."""
    try:
        there = found(path)
        if there is None:
            return "no such file"
        if not is_file(there):
            return "not a file"
        return None if os.access(path, os.R_OK) else "no permission to read the file"
    except PermissionError:
        return "no permission to look at the file"
    except OSError:
        return "not the path of a file"


def read_secret(path: Path) -> tuple[str, str | None]:
    """The secret that the file holds, without the line end after it; or what is wrong."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_SECRET + 1)
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    if len(raw) > LARGEST_SECRET:
        return "", f"holds more than {LARGEST_SECRET} bytes, expected a secret alone"
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return "", "is not text, expected a secret alone"
    return (text, None) if text else ("", "is empty, expected a secret")

"""Builds what of `_fast/` is compiled; everything else about the package stands in pyproject.toml.

MCP_ILERT_PURE=1 builds without them, MCP_ILERT_REQUIRE_FAST=1 fails where they cannot be built. MCP_ILERT_ABI3=1 builds
them for every CPython from 3.11 on, which costs speed (wheels/README.md).
Without either, a machine that has no compiler gets the same modules as plain Python, with a warning; those that
are written in Cython (`.pyx`) are then absent, and what they do runs on slower ways. So is `http2` where there is no
libnghttp2 (1.52 or newer) with its header; NGHTTP2_PREFIX names a place with include/ and lib/libnghttp2.a.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from setuptools import Extension, setup

PURE = os.environ.get("MCP_ILERT_PURE") == "1"
ABI3 = os.environ.get("MCP_ILERT_ABI3") == "1"
REQUIRED = os.environ.get("MCP_ILERT_REQUIRE_FAST") == "1"
LIMITED = [
    ("Py_LIMITED_API", "0x030b0000"),
    ("PyBytes_AS_STRING", "PyBytes_AsString"),
    ("PyBytes_GET_SIZE", "PyBytes_Size"),
    ("PyByteArray_AS_STRING", "PyByteArray_AsString"),
]
"""Of CPython 3.11; what is a macro that looks into an object is a call there."""
FLAGS = ["-O3", "-fvisibility=hidden", "-ffp-contract=off"] if os.name == "posix" else []
"""Without the last, a compiler for ARM64 fuses a * b + c: a pace would differ from Python's in its last bit."""
INLINE = [("CYTHON_INLINE", "__attribute__((unused))")] if os.name == "posix" else []
"""Of a `.pyx`: what it has in `.pxd` files must be declared inline, however long it is; the compiler chooses better."""
NGHTTP2_PROBE = """
#include <nghttp2/nghttp2.h>
#if NGHTTP2_VERSION_NUM < 0x013400
#error "older than 1.52"
#endif
int main(void) { return nghttp2_version(0) == 0; }
"""


def nghttp2() -> dict[str, Any] | None:
    """How `http2` finds libnghttp2; None where there is none."""
    prefix = os.environ.get("NGHTTP2_PREFIX")
    if prefix:
        return {
            "include_dirs": [f"{prefix}/include"],
            "extra_objects": [f"{prefix}/lib/libnghttp2.a"],
            "define_macros": [("NGHTTP2_STATICLIB", "1")],
        }
    found = _output("pkg-config", "--cflags", "--libs", "libnghttp2")
    flags = shlex.split(found) if found else ["-lnghttp2"]
    if not _compiles(NGHTTP2_PROBE, flags) and _compiles("int main(void) { return 0; }", []):
        return None
    return {
        "libraries": [flag[2:] for flag in flags if flag.startswith("-l")],
        "include_dirs": [flag[2:] for flag in flags if flag.startswith("-I")],
        "library_dirs": [flag[2:] for flag in flags if flag.startswith("-L")],
    }


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - ours
    except (OSError, subprocess.CalledProcessError):
        return None


def _compiles(source: str, flags: list[str]) -> bool:
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    given = shlex.split(os.environ.get("CFLAGS", "")), shlex.split(os.environ.get("LDFLAGS", ""))
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text(source)
        return (
            _output(*compiler, *given[0], str(probe), "-o", f"{folder}/probe", *given[1], *flags) is not None
        )


NEEDS: dict[str, dict[str, Any] | None] = {
    "http2": None if PURE else nghttp2(),
    "reactor": {} if sys.platform == "linux" else None,
}
"""What a module needs beyond a C compiler: arguments of its Extension, by its name; None: it is not to be had."""


def sources() -> list[Path]:
    """Every module of `_fast/` that can be had here; relative, as setuptools wants them."""
    folder = Path("src/mcp_ilert/_fast")
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix in {".py", ".pyx"} and p.name != "__init__.py" and NEEDS.get(p.stem, {}) is not None
    )


def extension(path: Path) -> Extension:
    needs = dict(NEEDS.get(path.stem) or {})
    macros = needs.pop("define_macros", []) + (INLINE if path.suffix == ".pyx" else [])
    macros += LIMITED if ABI3 else []
    return Extension(
        f"mcp_ilert._fast.{path.stem}",
        [str(path)],
        extra_compile_args=FLAGS,
        define_macros=macros,
        py_limited_api=ABI3,
        **needs,
    )


def extensions() -> list[Extension]:
    if PURE:
        return []
    try:
        from Cython.Build import cythonize  # noqa: PLC0415 - absent where nothing is to be compiled
    except ImportError:
        if REQUIRED:
            raise
        print("warning: Cython is not installed; mcp_ilert._fast runs as plain Python", file=sys.stderr)  # noqa: T201
        return []
    if NEEDS["http2"] is None:
        missing = (
            "libnghttp2 (1.52 or newer) with its header is not installed; HTTP/2 runs on the slower stack"
        )
        if REQUIRED:
            sys.exit(f"MCP_ILERT_REQUIRE_FAST=1: {missing}")
        print(f"warning: {missing}", file=sys.stderr)  # noqa: T201
    built: list[Extension] = cythonize(  # type: ignore[no-untyped-call]  # Cython has no types for it
        [extension(path) for path in sources()], language_level=3, build_dir="build/cython"
    )
    for module in built:
        module.optional = not REQUIRED  # setuptools then only warns; cythonize would not keep it
    return built


if PURE and REQUIRED:
    sys.exit("MCP_ILERT_PURE=1 and MCP_ILERT_REQUIRE_FAST=1 contradict each other; set one of them")
setup(ext_modules=extensions(), options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {})

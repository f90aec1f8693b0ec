"""The package as others build it: with a compiler, without one, told to want one, and from its sdist."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "src")
FOLDER = ROOT / "src/mcp_ilert/_fast"
PLAIN = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem != "__init__")
FAST = sorted([*PLAIN, *(p.stem for p in FOLDER.glob("*.pyx"))])
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
HEADERS = Path(sysconfig.get_path("include")) / "Python.h"
compiler = pytest.mark.skipif(
    shutil.which("cc") is None or not HEADERS.exists(), reason="no C compiler, or no Python headers"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources, so that a build here leaves no trace there."""
    copy = tmp_path / "tree"
    copy.mkdir()
    built = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=built)
        else:
            shutil.copy(source, copy)
    return copy


def run(tree: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ILERT_")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env={**clean, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def build_wheel(tree: Path, source: str = ".", **environ: str) -> subprocess.CompletedProcess[str]:
    options = ("--no-build-isolation", "--no-deps", "--no-cache-dir", "--verbose", "--wheel-dir", "dist")
    return run(tree, "-m", "pip", "wheel", *options, str(source), **environ)


def contents(tree: Path) -> tuple[str, set[str]]:
    (wheel,) = (tree / "dist").glob("*.whl")
    return wheel.name, set(zipfile.ZipFile(wheel).namelist())


def compiled(names: set[str]) -> list[str]:
    return sorted(Path(name).name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def test_a_pure_build_is_for_every_machine_and_holds_all_that_is_not_code(tree: Path) -> None:
    assert build_wheel(tree, MCP_ILERT_PURE="1").returncode == 0
    name, files = contents(tree)
    assert name.endswith("-py3-none-any.whl")
    assert compiled(files) == []
    data = {
        str(p.relative_to(ROOT / "src"))
        for pattern in ("*.py", "*.sql", "*.pyx", "*.pxd", "*.pyi", "py.typed")
        for p in (ROOT / "src").rglob(pattern)
    }
    assert data <= files


@pytest.mark.parametrize("cc", ["/bin/false", "/nonexistent/cc"])
def test_without_a_compiler_the_build_warns_and_goes_on_in_plain_python(tree: Path, cc: str) -> None:
    built = build_wheel(tree, CC=cc)
    assert built.returncode == 0, built.stdout
    for name in FAST:
        assert f'building extension "mcp_ilert._fast.{name}" failed' in built.stdout
    _, files = contents(tree)
    assert compiled(files) == []
    assert {f"mcp_ilert/_fast/{name}.py" for name in PLAIN} <= files


def test_without_a_compiler_an_editable_build_goes_on_too(tree: Path) -> None:
    made = run(
        tree, "-c", "from setuptools import build_meta; build_meta.build_editable('dist')", CC="/bin/false"
    )
    assert made.returncode == 0, made.stdout
    assert not list(tree.rglob(f"*{SUFFIX}"))


def test_a_build_that_requires_the_fast_modules_fails_without_a_compiler(tree: Path) -> None:
    built = build_wheel(tree, CC="/bin/false", MCP_ILERT_REQUIRE_FAST="1")
    assert built.returncode != 0
    assert "/bin/false" in built.stdout
    assert not list((tree / "dist").glob("*.whl"))


def test_a_build_cannot_be_both_pure_and_required(tree: Path) -> None:
    built = build_wheel(tree, MCP_ILERT_PURE="1", MCP_ILERT_REQUIRE_FAST="1")
    assert built.returncode != 0
    assert "contradict each other" in built.stdout


@compiler
def test_the_sdist_builds_into_a_wheel_whose_compiled_modules_win_the_import(tree: Path) -> None:
    made = run(tree, "-c", "from setuptools import build_meta; build_meta.build_sdist('dist')")
    assert made.returncode == 0, made.stdout
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    built = build_wheel(tree, str(sdist), MCP_ILERT_REQUIRE_FAST="1")
    assert built.returncode == 0, built.stdout
    _, files = contents(tree)
    assert compiled(files) == FAST
    (wheel,) = (tree / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tree / "site")
    imports = "; ".join(f"import mcp_ilert._fast.{name} as m; print(m.__file__)" for name in FAST)
    seen = run(tree, "-c", imports, PYTHONPATH=str(tree / "site"))
    assert seen.returncode == 0, seen.stdout
    assert [Path(line).name for line in seen.stdout.split()] == [name + SUFFIX for name in FAST]
    assert all(line.startswith(str(tree)) for line in seen.stdout.split())


@pytest.mark.parametrize("name", ["http1", "http2", "reactor"])
def test_an_edit_of_any_file_of_a_module_builds_it_anew(name: str) -> None:
    """Cython goes by what it sees cimported, and it does not see `from package cimport module`."""
    dependencies = pytest.importorskip("Cython.Build.Dependencies")
    seen = dependencies.create_dependency_tree().all_dependencies(str(FOLDER / f"{name}.pyx"))
    files = {path.name for path in FOLDER.glob(f"{name}*.pxd")}
    assert len(files) > 1
    assert files <= {Path(file).name for file in seen}


@compiler
def test_an_abi3_build_is_one_wheel_for_all_pythons_from_3_11_on(tree: Path) -> None:
    for path in (
        tree / "src/mcp_ilert/_fast"
    ).iterdir():  # one that reads bytes by macros, and one in plain Python
        if not path.stem.startswith(("__init__", "http1", "token_bucket")):
            path.unlink()
    built = build_wheel(tree, MCP_ILERT_ABI3="1", MCP_ILERT_REQUIRE_FAST="1")
    assert built.returncode == 0, built.stdout
    assert "implicit" not in built.stdout
    name, files = contents(tree)
    assert "-cp311-abi3-" in name
    assert {Path(file).name for file in files if file.endswith(".so")} == {
        "http1.abi3.so",
        "token_bucket.abi3.so",
    }


LISTED = """
import runpy, setuptools, Cython.Build
Cython.Build.cythonize = lambda modules, **_: modules
def setup(ext_modules, **_):
    for m in ext_modules:
        print((m.name, m.include_dirs, m.extra_objects))
setuptools.setup = setup
runpy.run_path("setup.py")
"""
"""Lists what would be built."""


@compiler
def test_without_libnghttp2_only_its_module_is_left_out_and_one_line_says_so(tree: Path) -> None:
    cc = tree / "cc"
    cc.write_text(f'#!/bin/sh\ncase "$*" in *nghttp2*) exit 1;; esac\nexec {shutil.which("cc")} "$@"\n')
    cc.chmod(0o755)
    lines = run(tree, "-c", LISTED, CC=str(cc)).stdout.splitlines()
    missing = "libnghttp2 (1.52 or newer) with its header is not installed; HTTP/2 runs on the slower stack"
    assert [line for line in lines if not line.startswith("(")] == [f"warning: {missing}"]
    assert "mcp_ilert._fast.http1" in str(lines)
    assert "mcp_ilert._fast.http2" not in str(lines)
    refused = run(tree, "-c", LISTED, CC=str(cc), MCP_ILERT_REQUIRE_FAST="1")
    assert refused.returncode == 1
    assert refused.stdout == f"MCP_ILERT_REQUIRE_FAST=1: {missing}\n"


def test_a_prefix_says_where_libnghttp2_is_to_be_had(tree: Path) -> None:
    lines = run(tree, "-c", LISTED, NGHTTP2_PREFIX="/some/where").stdout.splitlines()
    (found,) = [line for line in lines if "_fast.http2" in line]
    assert "'/some/where/include'" in found
    assert "'/some/where/lib/libnghttp2.a'" in found

"""The chart as one file, the same bytes each time.

    python deploy/helm/pack.py [--image REPOSITORY] [--into dist]

Helm's own `package` writes the time of day into it. Links become the files that they point at.
"""

import argparse
import gzip
import io
import re
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
CHART = HERE / "mcp-ilert"


def of_image(values: str, repository: str) -> str:
    """The default values with the image of a repository."""
    changed, count = re.subn(r"^(  repository:) .*$", rf"\1 {repository}", values, flags=re.MULTILINE)
    if count != 1:
        raise SystemExit("mcp-ilert: make chart: values.yaml has no image.repository, or several")
    return changed


def archive(repository: str | None = None) -> bytes:
    """The chart's archive; Chart.yaml comes first, as Helm has it."""
    packed = io.BytesIO()
    files = [path for path in CHART.rglob("*") if path.is_file()]
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(files, key=lambda path: (path.name != "Chart.yaml", path)):
            content = path.read_bytes()
            if repository is not None and path == CHART / "values.yaml":
                content = of_image(content.decode(), repository).encode()
            entry = tarfile.TarInfo(f"mcp-ilert/{path.relative_to(CHART).as_posix()}")
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", help="image.repository of the packed chart")
    parser.add_argument("--into", type=Path, default=HERE.parent.parent / "dist")
    options = parser.parse_args()
    found = re.search(r"^version: (\S+)$", (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("mcp-ilert: make chart: Chart.yaml has no version")
    options.into.mkdir(parents=True, exist_ok=True)
    path = options.into / f"mcp-ilert-chart-{found[1]}.tgz"
    path.write_bytes(archive(options.image))
    print(path)  # noqa: T201 - what it has made


if __name__ == "__main__":
    main()

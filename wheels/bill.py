"""Puts into a wheel the bill of materials of what is linked into it, where scanners look for it (PEP 770).

python wheels/bill.py FILE.whl…     Needs `wheel` (lock/wheels.txt). Each file's time in the archive stays what it was.
"""

import sys
from pathlib import Path
from zipfile import ZipInfo

from wheel.wheelfile import WheelFile

sys.path.append(str(Path(__file__).parent.parent / "deploy/release"))
import sbom


def add(path: Path) -> None:
    with WheelFile(path) as given:
        version = given.parsed_filename["ver"]
        name = ZipInfo(f"{given.dist_info_path}/sboms/mcp-ilert.cdx.json", given.infolist()[0].date_time)
        name.external_attr = given.getinfo(given.record_path).external_attr
        entries = [(one, given.read(one)) for one in given.infolist() if one.filename != given.record_path]
    with WheelFile(path, "w") as taken:
        for entry, data in [*entries, (name, sbom.written(sbom.linked(version)).encode())]:
            taken.writestr(entry, data)


if __name__ == "__main__":
    for file in sys.argv[1:]:
        add(Path(file))

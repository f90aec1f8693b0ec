"""Packs an sdist again so that its bytes depend on its files alone: sorted, owned by nobody, of one time.

python wheels/sdist.py FILE.tar.gz     (SOURCE_DATE_EPOCH: the time, in seconds)
"""

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path


def packed(data: bytes, seconds: int) -> bytes:
    """The same archive, in one order, with this time."""
    whole = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as given,
        gzip.GzipFile(filename="", fileobj=whole, mode="wb", mtime=seconds) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as taken,
    ):
        for member in sorted(given.getmembers(), key=lambda member: member.name):
            member.mtime = seconds
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            taken.addfile(member, given.extractfile(member) if member.isfile() else None)
    return whole.getvalue()


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_bytes(packed(path.read_bytes(), int(os.environ["SOURCE_DATE_EPOCH"])))

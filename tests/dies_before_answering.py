"""`mcp-ilert`, killed between the commit of the first message that says who it is and the answer to it."""

import os
import signal

from mcp_ilert.cli import main
from mcp_ilert.spool.job import News
from mcp_ilert.spool.spool import WrittenSpool

tell = WrittenSpool.tell


def die(spool: WrittenSpool, news: News) -> None:
    if any(job.message is not None for job in news.jobs):
        os.kill(os.getpid(), signal.SIGKILL)
    tell(spool, news)


WrittenSpool.tell = die  # type: ignore[assignment,method-assign]
main()

"""`mcp-ilert`, but for the limit of an address: with 690 requests a minute kills would find little in flight.

Without arguments it is a mould: all is imported once, and each line of arguments on stdin, as JSON, becomes a process
of its own by a fork, whose number and exit code it prints. So a start costs the bridge's own work and no imports.
"""

import json
import os
import random
import sys

import mcp_ilert.cli.serve
import mcp_ilert.service
from mcp_ilert.cli import main
from mcp_ilert.dispatch import desk

END = "that is all it said"
"""The line on stderr behind all of a child's."""
READY_MADE = (mcp_ilert.cli.serve, mcp_ilert.service)


def cast() -> list[str]:
    """Serve as a mould until stdin ends; in each child, return its arguments."""
    while line := sys.stdin.readline():
        pid = os.fork()
        if not pid:
            random.seed()
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0)
            os.dup2(nothing, 1)
            return [str(each) for each in json.loads(line)]
        tell(pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sys.stderr.write(f"\n{END}\n")  # a line that was cut by a kill ends here
        sys.stderr.flush()
        tell(code)
    sys.exit(0)


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    vars(desk)["ADDRESS_PER_MINUTE"] = 60_000
    if not sys.argv[1:]:
        sys.argv = ["mcp-ilert", *cast()]
    main()

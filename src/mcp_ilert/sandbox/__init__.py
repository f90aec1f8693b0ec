"""A strict fake of iLert, for the demo and for tests: it refuses what the real one would refuse.

It shares no code with the client that it judges, so that a mistake in one is not made good by the other.
"""

from mcp_ilert.sandbox.directory import Directory
from mcp_ilert.sandbox.faults import Fault, brown_out
from mcp_ilert.sandbox.ilert import SandboxIlert
from mcp_ilert.sandbox.messages import Answer, Request
from mcp_ilert.sandbox.options import API_KEY, HEARTBEAT_KEY, INTEGRATION_KEY, Limits, Options, Source
from mcp_ilert.sandbox.received import Received, Stats

__all__ = [
    "API_KEY",
    "HEARTBEAT_KEY",
    "INTEGRATION_KEY",
    "Answer",
    "Directory",
    "Fault",
    "Limits",
    "Options",
    "Received",
    "Request",
    "SandboxIlert",
    "Source",
    "Stats",
    "brown_out",
]

"""The production delivery code on a virtual clock, over recorded traffic and a model of iLert."""

from mcp_ilert.simulation.difference import Difference, difference
from mcp_ilert.simulation.report import Page, Report
from mcp_ilert.simulation.run import Setup, simulate
from mcp_ilert.simulation.scenario import Outage, Scenario, load_scenario

__all__ = [
    "Difference",
    "Outage",
    "Page",
    "Report",
    "Scenario",
    "Setup",
    "difference",
    "load_scenario",
    "simulate",
]

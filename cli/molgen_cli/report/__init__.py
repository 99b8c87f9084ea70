"""The report of an evaluation: one HTML file that needs nothing else."""

from molgen_cli.report.page import write

__all__ = ["write"]

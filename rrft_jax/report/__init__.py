"""One page about a run, report.html: a single file that needs no network, made of what the run directory holds.

`write_report` makes it; a training calls `report_of_run`. Needs the extra `report` (bokeh, whose script it holds).
"""

from rrft_jax.report.page import FILE, MissingPackageError, report_of_run, write_report

__all__ = ["FILE", "MissingPackageError", "report_of_run", "write_report"]

"""Pages without a server or a network: templates, one style, charts, and their data."""

from benchmarks.html.charts import Chart, runtime
from benchmarks.html.render import render, script_json

__all__ = ["Chart", "render", "runtime", "script_json"]

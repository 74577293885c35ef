"""Pages that need no server and no network: templates, one look, charts, and the way data gets into them."""

from benchmarks.html.charts import Chart, runtime
from benchmarks.html.render import render, script_json

__all__ = ["Chart", "render", "runtime", "script_json"]

"""Charts by Vega-Lite, specified by Altair, with the runtime in the page: nothing is fetched.

Reasons for Vega-Lite among the offline libraries: its specifications are data, so a chart is made where its figures
are; it draws SVG with roles and names for screen readers; 0.9 MB draw every kind (Plotly's 3.5 MB).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from compat.errors import InputError


@dataclass(frozen=True)
class Chart:
    """A chart in a page, by the macro `chart` of `chart.html.j2`: drawn, described, and as a table.

    Attributes:
        name: of the element, unique in the page.
        title: above it.
        description: its content in words, for readers who do not see it.
        spec: of Vega-Lite, as `altair.Chart.to_dict` gives it; `width: "container"` fits it to the page. Colours of
            axes and text, and of categories the palette, follow the page's theme where the specification has none.
        columns: of the table.
        rows: of the table, formatted.
    """

    name: str
    title: str
    description: str
    spec: dict[str, Any]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()


@cache
def runtime() -> str:
    """Return the JavaScript of Vega, Vega-Lite and vegaEmbed, for one of a page's scripts.

    Raises:
        InputError: vl-convert is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise InputError("vl-convert-python: not installed, expected it: pip install vl-convert-python") from error
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return f"(() => {{\n{bundle}\n}})();"  # its names are none of the page's

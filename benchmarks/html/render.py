"""Render templates to one self-contained HTML file; its content security policy forbids requests.

Scripts are named by their hashes in this policy, so no other runs, whatever a name of a class or a file contains.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from compat.errors import InputError

HERE = Path(__file__).parent


def render(template: Path, title: str, scripts: Sequence[str] = (), styles: Sequence[str] = (), **values: Any) -> str:
    """Render a page: a template extending `base.html.j2`, filled with values, all of them escaped.

    Args:
        template: its file; others beside it may be included.
        title: of the page.
        scripts: JavaScript to run at the end of the page, after the common one, in this sequence; with charts one of
            them is `benchmarks.html.runtime()`, best the last, as it takes a moment.
        styles: CSS after the common one.
        values: of the template's names; the filter `script_json` puts data into scripts.

    Raises:
        InputError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise InputError("jinja2: not installed, expected it: pip install jinja2") from error

    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_json"] = lambda value: Markup(script_json(value))
    first = inline(HERE.joinpath("static", "theme.js").read_text())
    last = [inline(script) for script in (HERE.joinpath("static", "base.js").read_text(), *scripts)]
    sheet = "\n".join([HERE.joinpath("static", "base.css").read_text(), *styles]).replace("</", "<\\/")
    return environment.get_template(template.name).render(
        title=title,
        policy=policy([first, *last]),
        theme_script=Markup(first),
        page_scripts=[Markup(script) for script in last],
        sheet=Markup(sheet),
        **values,
    )


def inline(script: str) -> str:
    """Make a script safe between its tags: no string ends it, and lines end as in HTML."""
    return script.replace("\r\n", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def policy(scripts: Sequence[str]) -> str:
    """Return a content security policy: these scripts, styles and images from within the file, nothing else."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def script_json(value: Any) -> str:
    """Format JSON safe in a script tag for any strings; NaN and infinities become null.

    Example:
        >>> print(script_json({"name": "</script><!--", "value": float("nan")}))
        {"name":"\u003c/script\u003e\u003c!--","value":null}
    """
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)  # ASCII: U+2028 is escaped too
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value

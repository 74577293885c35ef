"""`python -m benchmarks.report` run in this process: what it writes, and what it refuses."""

import sys

import pytest

from benchmarks.report import __main__ as report


def write(options, output):
    """Run the command; the HTML and the Markdown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report", *options, "-o", str(output), "--progress", "5"])
        report.main()
    return output.read_text(), output.with_suffix(".md").read_text()


def refused(options, capsys, *expected, output="report.html"):
    """Exit code 2 and one line that has all that is expected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report", *options, "-o", str(output)])
        with pytest.raises(SystemExit) as found:
            report.main()
    assert found.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    for part in expected:
        assert part in lines[0], lines[0]

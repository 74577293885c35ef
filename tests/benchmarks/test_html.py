"""What every page is made with: data in scripts, scripts in pages, and the policy that names them."""

import configparser
import json
from fnmatch import fnmatch

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.html import script_json
from benchmarks.html.render import inline, policy
from tests import ROOT

TEXTS = st.text() | st.sampled_from(["</script>", "<!--", "<script", "\u2028", "]]>", "&amp;"])
PLAIN = TEXTS | st.floats() | st.none() | st.integers()


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_json_in_a_script_ends_nothing_and_says_the_same(value):
    text = script_json(value)
    assert not set("<>&\u2028\u2029") & set(text)

    def same(given, read):
        if isinstance(given, dict):
            return given.keys() == read.keys() and all(same(given[key], read[key]) for key in given)
        if isinstance(given, list):
            return len(given) == len(read) and all(map(same, given, read))
        return given == read or (isinstance(given, float) and read is None)

    assert same(value, json.loads(text))


def test_a_script_cannot_end_itself_and_is_named_in_the_policy():
    assert inline('"</script><!--"\r\n') == '"<\\/script><\\!--"\n'
    found = policy(["a"])
    assert "'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='" in found  # of openssl
    assert "unsafe-eval" not in found
    assert "http" not in found


def test_what_pages_are_made_of_is_packaged():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packaged = config["options.package_data"]
    files = [path for name in ("html", "page") for path in (ROOT / "benchmarks" / name).rglob("*.*")]
    found = [path for path in files if path.suffix not in (".py", ".pyc")]
    assert {path.suffix for path in found} == {".j2", ".css", ".js"}
    for path in found:
        room = path.relative_to(ROOT / "benchmarks").parts[0]
        inside = path.relative_to(ROOT / "benchmarks" / room).as_posix()
        assert any(fnmatch(inside, pattern.strip()) for pattern in packaged[f"benchmarks.{room}"].split(",")), path

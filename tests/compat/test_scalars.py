"""What YAML's versions read otherwise is refused, in files, options, lists and keys, and nothing else is."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from compat.errors import InputError, check_name
from compat.scalars import check_yaml

NUMBERS = [
    "1_0e-1",
    "1_0.5e3",
    "010",
    "008",
    "-010",
    "+07",
    "00",
    "0o17",
    "0b11",
    "-0x1F",
    "1:30",
    "1:30:59",
    "1:30.5",
    "1_000",
    "1_0.5",
    "2020_01",
]
WORDS = ["no", "No", "NO", "yes", "Yes", "YES", "on", "On", "off", "OFF"]
PLACES = ["{}", "[1, {}]", "{{a: {}}}", "{{a: [[{}]]}}", "{{{}: 1}}", "a: 1\nb:\n  - {}\n", "- &x {}\n- *x\n"]
ALIKE = [
    "0",
    "-3",
    "10",
    "0x1F",
    "1.5",
    ".5",
    "1e-3",
    "007.5",
    ".inf",
    ".nan",
    "true",
    "False",
    "null",
    "~",
    "nO",
    "2020-01-01",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("word", NUMBERS + WORDS)
def test_a_word_that_is_read_in_several_ways(word, place):
    other = "true or false" if word in WORDS else "a plain number"
    line = 3 if place.startswith("a:") else 1
    field = f"--seed, line {line}" if "\n" in place else "--seed"
    with pytest.raises(InputError) as raised:
        check_yaml("--seed", place.format(word))
    assert str(raised.value) == f"{field}: {word} is read in several ways, expected it in quotes, or {other}"
    check_yaml("--seed", place.format(f"'{word}'"))
    check_yaml("--seed", place.format(f'"{word}"'))


@pytest.mark.parametrize("word", ["!!int '010'", '!!int "1_0"', "!!float '1_0'", "!!bool 'no'"])
def test_quotes_do_not_help_a_word_with_a_tag(word):
    with pytest.raises(InputError, match="is read in several ways"):
        check_yaml("--seed", word)


@pytest.mark.parametrize("word", ALIKE)
def test_a_word_that_is_read_in_one_way(word):
    check_yaml("--seed", word)
    check_yaml("--seed", f"[{word}]")


@pytest.mark.parametrize("key", ["1", "1.5", "true", "null", "~", "? "])
def test_a_key_that_is_no_text(key):
    with pytest.raises(InputError, match=r"^--methods: the key .* is no text, expected it in quotes$"):
        check_yaml("--methods", f"{{{key}: a}}")


@pytest.mark.parametrize("text", ["", "'", "[1", "a: b: c", "[" * 5000, "&a [*a]", "!!python/object:os.system x", "\0"])
def test_text_that_is_no_yaml_is_left_to_its_reader(text):
    check_yaml("--seed", text)


@given(st.text(st.sampled_from("0123456789_:.+-eoxbnyf"), max_size=8))
def test_numbers_that_pass_are_those_of_python(text):
    """What is not refused and is an integer to PyYAML is the integer that it looks like."""
    try:
        check_yaml("--seed", text)
        found = yaml.safe_load(text)
    except (InputError, yaml.YAMLError, ValueError):
        return
    if type(found) is int:
        assert found == int(text, 16 if "x" in text else 10)


@pytest.mark.parametrize("name", [7, False, None, 1.5, ["a"]])
def test_a_name_that_is_no_text(name):
    with pytest.raises(InputError, match=r"^methods: .*, expected letters"):
        check_name("methods", name)

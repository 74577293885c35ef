"""What is known of a class without importing it, and which changes of code make what again."""

import sys

import pytest

from benchmarks.artifacts import source
from benchmarks.config.spec import Spec
from compat.errors import InputError
from tests.helpers.running import edited, forget


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A user's package of three files, where one re-exports a class of another."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("from mine.head import Head\n")
    (folder / "head.py").write_text('"""A head."""\nfrom mine.base import Base\n\n\nclass Head(Base):\n    width = 3\n')
    (folder / "base.py").write_text(
        "class Base:\n    needs = ('training labels',)\n\n    def __init__(self, a, *, b=1):\n        self.a = a\n"
    )
    (folder / "other.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield folder
    forget()
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


def test_a_class_is_found_through_re_exports(package):
    found = source.find("mine.Head")
    assert found is not None
    assert (found.module, found.node.name) == ("mine.head", "Head")
    assert source.find("mine.Nothing") is None
    assert source.arguments("mine.Head") == ["a", "b"]
    assert source.declared("mine.Head", "needs", ()) == ("training labels",)
    assert source.declared("mine.Head", "width", None) == 3
    assert source.declared("mine.Head", "colour", "none") == "none"
    assert "mine" not in sys.modules


def test_code_is_that_of_the_file_and_of_what_it_uses(package):
    assert set(source.code_of("mine.head")) == {"mine.head", "mine.base"}


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("head.py", '"""A head."""', '"""Another."""', True),
        ("head.py", "\n\n\nclass", "\n\n\n# a comment\nclass", True),
        ("head.py", "width = 3", "width  =  3  # wide", True),
        ("base.py", "self.a = a", 'self.a = a\n\n    def f(self):\n        """Only words."""', False),
        ("head.py", "width = 3", "width = 4", False),
        ("base.py", "self.a = a", "self.a = 2 * a", False),
        ("other.py", "value = 1", "value = 2", True),
    ],
)
def test_only_a_change_of_code_that_is_used_changes_the_digest(package, file, old, new, same):
    before = source.code_of("mine.head")
    edited(package / file, old, new)
    assert (source.code_of("mine.head") == before) is same


def test_this_project_s_methods_depend_on_what_they_use_and_on_no_other_method():
    used = set(source.code_of("compat.methods.rqt"))
    assert {"compat.methods.rqt", "compat.methods.learned", "compat.losses", "compat.models"} <= used
    assert not used & {"compat.methods.fct", "compat.methods.bct", "compat.orders", "compat.results"}
    assert "compat.methods.fct" in source.code_of("compat.methods.fastfill")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"class_path": "mine.Heda"}, "x.class_path: mine.Heda, mine defines no Heda, expected it to"),
        ({"class_path": "mine.nothing.Head"}, "x.class_path: mine.nothing.Head, no module mine.nothing"),
        ({"class_path": "nomodule.Head"}, "x.class_path: nomodule.Head, no module nomodule, expected module.Class"),
        ({"class_path": "mine.Head", "init_args": {"aa": 1}}, "x.aa: not an argument of mine.Head, did you mean a?"),
        (
            {"class_path": "pytorch_lightning.Trainer", "init_args": {"max_epoch": 1}},
            r"x.max_epoch: not an argument of pytorch_lightning.Trainer, did you mean max_epochs\?",
        ),
    ],
)
def test_what_cannot_be_is_said_without_importing_it(package, content, message):
    with pytest.raises(InputError, match=message):
        Spec(content).check("x")


def test_a_user_s_file_with_an_error_is_named(package):
    edited(package / "base.py", "class Base:", "class Base")
    with pytest.raises(InputError, match=r"class_path: .*base.py .*expected Python"):
        source.code_of("mine.head")

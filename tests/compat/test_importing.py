"""Another's code by its import path: whatever it raises, also the end of the process, is one line."""

import sys

import numpy as np
import pytest
import torch

from benchmarks.config.listing import class_help
from benchmarks.config.spec import Spec
from benchmarks.embeddings.measure import transformed
from compat.errors import InputError
from compat.importing import resolved
from compat.live.verbs.arguments import load_models

MODULES = {
    "a syntax error": "def made(:\n",
    "an error": "raise RuntimeError('two\\nlines')",
    "another error": "import os; os.environ['NOPE_NOPE']",
    "an end": "import sys; sys.exit(0)",
}
FUNCTIONS = [
    "raise KeyError('x')",
    "raise OSError('two\\nlines')",
    "assert False",
    "raise MemoryError",
    "import sys; sys.exit()",
]


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Makes a module of the user's."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def written(text):
        (tmp_path / "their_module.py").write_text(text)
        monkeypatch.delitem(sys.modules, "their_module", raising=False)
        return "their_module.made"

    yield written
    sys.modules.pop("their_module", None)


USES = {
    "resolved": lambda path: resolved("field", path, "module.function"),
    "transform": lambda path: transformed(path, np.ones((2, 3), np.float32)),
    "models": load_models,
    "class_path": lambda path: Spec({"class_path": path}).build(torch.nn.Module),
    "help": lambda path: class_help([f"--data.help={path}"]),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", MODULES)
def test_a_module_that_cannot_be_imported_is_one_line(theirs, use, kind):
    path = theirs(MODULES[kind])
    with pytest.raises(InputError, match=r"their_module.*, expected ") as error:
        USES[use](path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("use", ["transform", "models"])
@pytest.mark.parametrize("body", FUNCTIONS)
def test_a_function_that_raises_is_one_line(theirs, use, body):
    path = theirs(f"def made(*_):\n    {body}\n")
    with pytest.raises(InputError, match=r"their_module.made.*, expected ") as error:
        USES[use](path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["", ".x", "compat.data.Nope", "nope.x", "math.pi", "a b", "compat"])
def test_help_of_no_class_is_one_line(path):
    for option in ([f"--data.help={path}"], ["--data.help"] if not path else []):
        if option:
            with pytest.raises(InputError, match=r"^--data.help: .*, expected ") as error:
                class_help(option)
            assert "\n" not in str(error.value)


def test_a_file_whose_name_has_help_in_it_is_no_question():
    class_help(["my.help.yaml", "--name=x.help"])

"""How a command tells what is wrong: one line, whatever lines the message has."""

import warnings

import pytest
from torch.utils.data import DataLoader, Dataset

from compat.command import Parser, exit_on_input_error, warn
from compat.errors import InputError


class Torn(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise InputError("data: cannot read the image\n  a  b.png\n")


def told(capsys, step, broken=()):
    with pytest.raises(SystemExit) as ended, exit_on_input_error(broken):
        step()
    return ended.value.code, capsys.readouterr().err


def failing(message):
    def step():
        raise InputError(message)

    return step


def test_a_message_of_several_lines_is_one(capsys):
    message = "items: t.parquet (page 3\n\n  is damaged:\nchecksum\n), expected a whole file"
    line = "error: items: t.parquet (page 3 is damaged: checksum ), expected a whole file\n"
    assert told(capsys, failing(message)) == (2, line)
    assert told(capsys, lambda: None, ["a:\nb", "a:\nb", "c"]) == (1, "error: a: b\nerror: c\n")


def test_spaces_within_a_line_stay(capsys):
    assert told(capsys, failing("data: no file 'a  b.png'"))[1] == "error: data: no file 'a  b.png'\n"


@pytest.mark.parametrize("workers", [0, 1])
def test_one_from_a_loading_process_has_no_traceback(capsys, workers):
    code, line = told(capsys, lambda: list(DataLoader(Torn(), num_workers=workers)))
    assert (code, line) == (2, "error: data: cannot read the image a  b.png\n")


def test_warnings_and_wrong_options_are_one_line(capsys, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("several\n  lines", stacklevel=1)
    assert capsys.readouterr().err == "warning: several lines\n"
    with pytest.raises(SystemExit):
        Parser().error("several\nlines")
    assert capsys.readouterr().err == "error: several lines; expected what --help names\n"

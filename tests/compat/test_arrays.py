"""Arrays from files: right, or one line that says what the file is, never a word that advises to trust it."""

import gzip
import io
import pickle
import re
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings

from compat.arrays import Archive, format_of, read_npy
from compat.errors import InputError
from compat.orders import Scores
from tests.helpers.damage import damaged

ARRAY = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
ADVICE = re.compile(r"pickle=|unsafe|trust|\n")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def saved(save, *arrays, **named):
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


NPY = saved(np.save, ARRAY)
NAMED = {"id": np.array([f"i{n}" for n in range(6)]), "old": ARRAY, "year": np.arange(6)}
NPZ = saved(np.savez_compressed, **NAMED)


def read_all(field, path):
    with Archive(field, path) as file:
        return dict(file)


def told(read):
    """What is read, or why not, in one line."""
    try:
        return read()
    except InputError as error:
        found = str(error)
    assert not ADVICE.search(found)
    return found


def refusal(read, *arguments):
    with pytest.raises(InputError) as raised:
        read("field", *arguments)
    message = str(raised.value)
    assert message.startswith("field: ")
    assert not ADVICE.search(message)
    return message


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        np.asfortranarray(ARRAY),
        ARRAY.astype(">f8"),
        ARRAY.astype(np.float16),
        ARRAY > 0,
        ARRAY.astype(str),
        np.arange(6).astype("M8[ns]"),
        ARRAY[:0],
        ARRAY[:, :0],
        np.array(3.5),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_arrays_of_all_kinds(tmp_path, array, mapped):
    np.save(tmp_path / "a.npy", array)
    found = read_npy("field", tmp_path / "a.npy", mapped)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LFS, "a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a page of the web"),
        (b"\n <html>", "a page of the web"),
        (b"1.0,2.0\n", "damaged, or no .npy file"),
        (b"", "empty"),
        (gzip.compress(NPY), "packed by gzip"),
        (pickle.dumps([1]), "a Python pickle"),
        (NPZ, "a zip archive, such as of numpy.savez"),
        (b"PAR1", "a Parquet file"),
        (saved(lambda file: np.save(file, np.array([{}]), allow_pickle=True)), "Python objects, which are not loaded"),
        (NPY[:-1], "191 bytes after its header, not the 192"),
        (NPY + b"\0", "193 bytes after its header, not the 192"),
        (NPY + NPY, "bytes after its header, not the 192"),
        (NPY[:30], "damaged, or no .npy file"),
        (NPY.replace(b"(6, 8)", b"(6, 7)"), "not the 168"),
        (NPY.replace(b"(6, 8)", b"(-6,8)"), "192 bytes after its header"),
        (NPY.replace(b"(6, 8), }" + 6 * b" ", b"(9999999999, 8)"), "damaged, or no .npy file"),
        (NPY[:6] + b"\x09\x00" + NPY[8:], "damaged, or no .npy file"),
    ],
)
def test_what_is_no_npy_file_says_what_it_is(tmp_path, content, words, mapped):
    (tmp_path / "a.npy").write_bytes(content)
    assert words in refusal(read_npy, tmp_path / "a.npy", mapped)


def test_a_file_that_is_not_there_and_a_folder(tmp_path):
    assert "(No such file or directory), expected an array in .npy" in refusal(read_npy, tmp_path / "a.npy")
    assert "(Is a directory)" in refusal(read_npy, tmp_path)
    assert "(Is a directory)" in refusal(Archive, tmp_path)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(content=damaged(NPY))
def test_a_damaged_npy_file_is_read_as_numpy_reads_it_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    path.write_bytes(content)
    found = told(lambda: read_npy("field", path))
    if isinstance(found, str):
        return
    as_numpy = np.load(path, allow_pickle=False)
    assert (found.dtype, found.shape, found.tobytes()) == (as_numpy.dtype, as_numpy.shape, as_numpy.tobytes())
    assert found.nbytes == ARRAY.nbytes
    assert content[:128] != NPY[:128] or found.tobytes() == content[128:]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(content=damaged(NPZ))
def test_a_damaged_npz_file_gives_the_arrays_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content)
    found = told(lambda: read_all("field", path))
    if isinstance(found, str):
        return
    assert set(found) in (set(NAMED), set())  # none: bytes may come in between so that a sound empty archive remains
    for name in found:
        np.testing.assert_array_equal(found[name], NAMED[name])


def changed(content, *changes):
    """An archive with bytes of each header in it changed: signature, place, value."""
    data = bytearray(content)
    for signature, at, value in changes:
        for match in re.finditer(re.escape(signature), content):
            data[match.start() + at : match.start() + at + len(value)] = value
    return bytes(data)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
PACKED = zipfile.ZipFile(io.BytesIO(NPZ)).getinfo("old.npy").header_offset + 60


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(NPZ, (LOCAL, 6, b"\x01"), (CENTRAL, 8, b"\x01")), "encrypted"),
        (changed(NPZ, (LOCAL, 8, b"\x09"), (CENTRAL, 10, b"\x09")), "compression method"),
        (changed(NPZ, (CENTRAL, 24, struct.pack("<I", 2**31))), "field: "),
        (changed(NPZ, (CENTRAL, 16, b"\0\0\0\0")), "CRC"),
        (NPZ[:PACKED] + b"\xa5" * 60 + NPZ[PACKED + 60 :], "'old'"),
        (NPZ[: len(NPZ) // 2], "not a zip file"),
        (NPY, "one array as numpy.save writes it"),
        (LFS, "a pointer of Git LFS"),
        (b"", "empty"),
        (saved(np.savez, old=np.array([{}])), "'old' of numbers or text"),
    ],
    ids=["encrypted", "method", "size", "checksum", "packed", "cut", "npy", "lfs", "empty", "objects"],
)
def test_an_archive_that_is_damaged_or_none(tmp_path, content, words):
    (tmp_path / "a.npz").write_bytes(content)
    assert words in refusal(read_all, tmp_path / "a.npz")


def test_an_archive_with_something_else_in_it(tmp_path):
    (tmp_path / "a.npz").write_bytes(NPZ)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as file:
        file.writestr("README", "mine")
    with Archive("field", tmp_path / "a.npz") as file:
        assert (len(file), list(file)) == (4, [*NAMED, "README"])
        np.testing.assert_array_equal(file["old"], ARRAY)
        with pytest.raises(KeyError):
            file["new"]
        with pytest.raises(InputError, match="expected an array 'README'"):
            file["README"]


def test_a_file_under_its_own_name_is_nothing_else(tmp_path):
    for name, content in {"a.npy": NPY, "a.npz": NPZ, "a.parquet": b"PAR1", "a.txt": b"text"}.items():
        (tmp_path / name).write_bytes(content)
        assert format_of(tmp_path / name) == ""
    assert format_of(tmp_path / "none.npy") == ""


def test_scores_say_what_their_file_is(tmp_path):
    (tmp_path / "scores.npy").write_bytes(NPZ)
    with pytest.raises(
        InputError, match=r"^replay.by: .*scores.npy \(a zip archive.*\), expected scores in a .npy file$"
    ):
        Scores(str(tmp_path / "scores.npy")).check(6)


@pytest.mark.parametrize("kind", ["M8[D]", "m8[s]", "U3", "complex64", "i4,i4"])
def test_scores_of_another_type(tmp_path, kind):
    np.save(tmp_path / "scores.npy", np.arange(6).astype(kind))
    with pytest.raises(InputError, match=r"^replay.by: .*scores.npy of type .*, expected 6 finite scores$"):
        Scores(str(tmp_path / "scores.npy")).check(6)


@pytest.mark.parametrize("name", ["old", "old.npy"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path, name):
    (tmp_path / "t.npz").write_bytes(NPZ)
    with zipfile.ZipFile(tmp_path / "t.npz", "a") as file:
        file.writestr(name, NPY)
    with pytest.raises(InputError, match=r"^items: .*t.npz \(two arrays 'old'\), expected arrays in .npz$"):
        read_all("items", tmp_path / "t.npz")

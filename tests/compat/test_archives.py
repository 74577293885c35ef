"""Unpacking: good archives arrive whole, bad ones write nothing, interrupted ones leave nothing that looks complete."""

import hashlib
import stat
import tarfile
import zipfile

import pytest

from compat.data.archives import scratch, unpack, verify
from compat.errors import InputError
from tests.helpers.layouts import pack, read

FILES = {"images/a/1.bin": bytes(range(256)) * 9, "images/b/2.bin": b"two", "list.txt": b"a b"}
FORMATS = ["x.tar", "x.tar.gz", "x.tgz", "x.zip"]


def in_tar(kind: bytes, target: str = "", name: str = "images/odd") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def link_in_zip() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("images/odd")
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return member


def test_verify_names_both_checksums(tmp_path):
    file = tmp_path / "x.tar"
    file.write_bytes(b"abc")
    found = hashlib.md5(b"abc").hexdigest()
    verify(file, found)
    with pytest.raises(InputError, match=rf"x.tar: its MD5 is {found}, expected 0000; .* download it again"):
        verify(file, "0000")
    with pytest.raises(InputError, match=r"nowhere: cannot be read .*expected a file with MD5 0000"):
        verify(tmp_path / "nowhere", "0000")


@pytest.mark.parametrize("name", FORMATS)
def test_everything_arrives_and_nothing_else(tmp_path, name):
    target = tmp_path / "new" / "target"
    unpack(pack(tmp_path / name, FILES), target)
    assert read(target) == FILES
    assert sorted(path.name for path in target.iterdir()) == ["images", "list.txt"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("evil", ["../evil", "images/../../evil", "/evil", "images\\..\\..\\evil", "C:\\evil"])
def test_a_name_that_leads_outside_is_refused_before_anything_is_written(tmp_path, name, evil):
    target = tmp_path / "target"
    archive = pack(tmp_path / name, {**FILES, evil: b"evil"})
    with pytest.raises(InputError, match=rf"{name}: member '.*evil' leads outside") as raised:
        unpack(archive, target)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("x.tar", in_tar(tarfile.SYMTYPE, "../../evil")),
        ("x.tar", in_tar(tarfile.SYMTYPE, "/etc")),
        ("x.tgz", in_tar(tarfile.LNKTYPE, "../evil")),
        ("x.tar", in_tar(tarfile.SYMTYPE, "a")),
        ("x.tar", in_tar(tarfile.CHRTYPE)),
        ("x.tar", in_tar(tarfile.FIFOTYPE)),
        ("x.zip", link_in_zip()),
    ],
)
def test_a_link_or_device_is_refused_before_anything_is_written(tmp_path, name, odd):
    archive = pack(tmp_path / name, FILES, odd)
    with pytest.raises(InputError, match=rf"{name}: member 'images/odd' is a link or device"):
        unpack(archive, tmp_path / "target")
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.3, 0.6])
def test_a_truncated_archive_leaves_nothing(tmp_path, name, kept):
    archive = pack(tmp_path / name, {f"images/{i}.bin": hashlib.sha512(b"%d" % i).digest() * 20 for i in range(20)})
    archive.write_bytes(archive.read_bytes()[: int(kept * archive.stat().st_size)])
    with pytest.raises(InputError, match=rf"{name}: truncated or damaged .*get it again") as raised:
        unpack(archive, tmp_path / "target")
    assert "\n" not in str(raised.value)
    assert not read(tmp_path / "target")


def test_a_tar_that_ends_between_two_members_is_truncated(tmp_path):
    archive = pack(tmp_path / "x.tar", {"1": b"one", "2": b"two"})
    archive.write_bytes(archive.read_bytes()[: 2 * tarfile.BLOCKSIZE])
    with pytest.raises(InputError, match=r"x.tar: truncated or damaged .*no end of archive after 1 members"):
        unpack(archive, tmp_path / "target")


DAMAGED = {"second header": ("x.tar", 1028), "checksum": ("x.tgz", -6), "first file": ("x.zip", 40)}


@pytest.mark.parametrize(("name", "place"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_leaves_nothing(tmp_path, name, place):
    archive = pack(tmp_path / name, {"1": b"one" * 50, "2": b"two" * 50})
    content = bytearray(archive.read_bytes())
    content[place] ^= 255
    archive.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: truncated or damaged"):
        unpack(archive, tmp_path / "target")
    assert not read(tmp_path / "target")


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_unpacking_leaves_nothing(tmp_path, monkeypatch, name, error):
    archive, target = pack(tmp_path / name, FILES), tmp_path / "target"
    reader = zipfile.ZipFile if name == "x.zip" else tarfile.TarFile
    extract = reader.extract

    def interrupted(self, member, *arguments):
        if "2.bin" in str(member):
            assert "images/a/1.bin" in " ".join(read(target))  # half of it is there, out of the way
            assert not (target / "images").exists()
            raise error
        return extract(self, member, *arguments)

    monkeypatch.setattr(reader, "extract", interrupted)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt, match=r"No space|^$"):
        unpack(archive, target)
    assert not list(target.iterdir())


def test_leftovers_of_a_killed_unpacking_go(tmp_path):
    archive, target = pack(tmp_path / "x.tar", FILES), tmp_path / "target"
    leftover = target / ".unpacking-x.tar" / "images" / "a" / "half.bin"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    unpack(archive, target)
    assert read(target) == FILES
    assert not (target / ".unpacking-x.tar").exists()


def test_a_file_is_replaced_and_a_folder_is_left_alone(tmp_path):
    archive = pack(tmp_path / "x.tar", FILES)
    (tmp_path / "list.txt").write_bytes(b"old")
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"x.tar: .*images is in the way, .*move or delete it"):
        unpack(archive, tmp_path)
    assert (tmp_path / "list.txt").read_bytes() == b"old"
    (tmp_path / "images").rmdir()
    unpack(archive, tmp_path)
    assert (tmp_path / "list.txt").read_bytes() == b"a b"


def test_a_target_that_cannot_be_written_is_said(tmp_path):
    archive = pack(tmp_path / "x.tar", FILES)
    with pytest.raises(InputError, match=rf"x.tar: cannot be unpacked into {archive} .*a writable folder"):
        unpack(archive, archive)


def test_scratch_is_empty_before_and_gone_after(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "old").touch()
    with scratch(tmp_path / "work") as work:
        assert not list(work.iterdir())
        (work / "new").touch()
    assert not work.exists()

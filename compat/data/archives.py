"""Unpack downloaded archives: verified, contained in the target folder, all or nothing."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from tqdm.auto import tqdm

from compat.errors import InputError
from compat.importing import reason


def verify(path: Path, md5: str) -> None:
    """Compare a file's MD5 with the published one; a progress bar shows if it takes longer than a second.

    Raises:
        InputError: another MD5, or the file cannot be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file, _bar(desc=f"Verifying {path.name}", total=path.stat().st_size, unit="B") as bar:
            while block := file.read(2**20):
                digest.update(block)
                bar.update(len(block))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a file with MD5 {md5}") from error
    if digest.hexdigest() != md5:
        raise InputError(f"{path}: its MD5 is {digest.hexdigest()}, expected {md5}; delete it and download it again")


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Give an empty folder for interruptible work: remove leftovers before, the folder itself after."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack(archive: Path, target: Path) -> None:
    """Unpack an archive into a folder.

    All members are checked before anything is written. They are unpacked into a hidden folder in `target` and the
    top-level entries moved from there at the end: whenever the process is killed, an entry of `target` is complete.
    An entry that is there already is replaced if it is a file, and refused if it is a folder.

    Args:
        archive: a .zip file, or else a tar archive, compressed or not.
        target: the folder; made where it is missing.

    Raises:
        InputError: a member with an absolute name or one with "..", neither file nor folder (no
            link); a truncated or damaged archive; a folder in the way; a target not
            writable.
    """
    try:
        with zipfile.ZipFile(archive) if archive.suffix == ".zip" else tarfile.open(archive) as opened:
            members = opened.infolist() if isinstance(opened, zipfile.ZipFile) else _list_tar(opened)
            paths = [_path_inside(member, archive) for member in members]
            for entry in sorted({path.parts[0] for path in paths if path.parts}):
                if (target / entry).is_dir():
                    raise InputError(f"{archive}: {target / entry} is in the way, expected none; move or delete it")
            with scratch(target / f".unpacking-{archive.name}") as temporary:
                for member in _bar(members, desc=f"Unpacking {archive.name}", unit="file"):
                    opened.extract(member, temporary)
                for unpacked in temporary.iterdir():
                    os.replace(unpacked, target / unpacked.name)
    except InputError:
        raise
    except Exception as error:  # each reader raises its own for each kind of damage
        why = reason(error)
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            message = f"cannot be unpacked into {target} ({why}), expected a writable folder, with room"
        else:
            message = f"truncated or damaged ({why}), expected a whole .tar, .tar.gz, .tgz or .zip; get it again"
        raise InputError(f"{archive}: {message}") from error


def _list_tar(opened: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """List all members. `tarfile` takes a damaged header, or a file ending between members, for the archive's end."""
    opened.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.10 has it from 3.10.12 on
    members = opened.getmembers()
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no end of archive after {len(members)} members")
    while opened.fileobj.read(2**20):  # to the checksum at the end of a compressed file
        pass
    return members


def _path_inside(member: tarfile.TarInfo | zipfile.ZipInfo, archive: Path) -> PureWindowsPath:
    """Return a member's path, or refuse it outside the target; Windows paths know both separators, and drives."""
    if isinstance(member, zipfile.ZipInfo):
        name, plain = member.filename, stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
    else:
        name, plain = member.name, member.isreg() or member.isdir()
    path = PureWindowsPath(name)
    if path.anchor or ".." in path.parts:
        raise InputError(
            f"{archive}: member {name!r} leads outside, expected relative names without '..'; not unpacked"
        )
    if not plain:
        raise InputError(f"{archive}: member {name!r} is a link or device, expected files and folders; not unpacked")
    return path


def _bar(*items: object, **options: object) -> tqdm:
    """Show a progress bar in a terminal, for work of more than a second."""
    return tqdm(*items, leave=False, delay=1, disable=None, unit_scale=True, **options)

"""List an image folder: which files are images, and of which class."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from compat.data.files import printable
from compat.errors import InputError

JUNK = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "__pycache__", "lost+found"),
    *("$recycle.bin", "recycler", "system volume information", "_gsdata_"),  # of Windows, and GoodSync
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@tmp", "@__thumb"),  # of file servers
}
PLACE = f"in class folders, with an ending of {', '.join(IMG_EXTENSIONS)}"


def hidden(name: str) -> bool:
    """Whether desktops, file servers or notebooks left a file or folder beside the images.

    Example:
        >>> [hidden(name) for name in (".ipynb_checkpoints", "._1.jpg", "Thumbs.db", "@eaDir", "1.jpg")]
        [True, True, True, True, False]
    """
    return name.startswith((".", "~$")) or name.lower() in JUNK


def list_classes(root: Path, split: str, layout: str, nested: bool | None = None) -> dict[str, list[str]]:
    """List the images of a folder of classes; warn of files left out, and of classes merged from several folders.

    Args:
        root: folder of the dataset.
        split: subfolder holding one folder per class.
        layout: the expected layout, for messages.
        nested: a class is any folder with images, named by its path below the split; else a folder of the split
            with everything below it. None where the dataset has no such option.

    Returns:
        Class name -> paths relative to `root`; names by number, paths sorted folder by folder.

    Raises:
        InputError: no folder, no class, a class without an image, a link to a folder above it.
    """
    layout = f"expected {layout} with images ({', '.join(IMG_EXTENSIONS)})"
    top = root / split
    if not top.is_dir():
        raise InputError(f"data.root: no folder {top}; {layout}")
    found: dict[str, list[tuple[str, ...]]] = {}
    others = Counter(ending(entry.name) for entry in top.iterdir() if not (entry.is_dir() or hidden(entry.name)))
    for name in sorted(entry.name for entry in top.iterdir() if entry.is_dir() and not hidden(entry.name)):
        images = []
        for parts in files_below(top / name):
            if ending(parts[-1]) in IMG_EXTENSIONS:
                images.append((name, *parts))
            else:
                others[ending(parts[-1])] += 1
        if not images:
            raise InputError(f"data.root: no image in {top / name}; {layout}")
        for parts in sorted(images):
            found.setdefault("/".join(parts[:-1]) if nested else name, []).append(parts)
    if not found:
        raise InputError(f"data.root: no class folder in {top}; {layout}")
    warn_of_left_out(top, others)
    _warn_of_merged(top, found, nested)
    return {name: [f"{split}/{'/'.join(parts)}" for parts in found[name]] for name in by_number(found)}


def by_number(names: Collection[str]) -> list[str]:
    """Sort class names as text, or as numbers where all are.

    Example:
        >>> by_number(["10", "9", "1"]), by_number(["10", "9", "a"])
        (['1', '9', '10'], ['10', '9', 'a'])
    """
    numeric = all(name.isdecimal() for name in names)
    return sorted(sorted(names), key=int if numeric else None)


def ending(name: str) -> str:
    """Return a file name's extension, in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


def files_below(folder: Path, field: str = "data.root") -> Iterator[tuple[str, ...]]:
    """Yield the path parts of each file below a folder, hidden ones left out; links are followed.

    Raises:
        InputError: a link to a folder above it.
        OSError: an unreadable folder.
    """

    def fail(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        below = Path(place).relative_to(folder).parts
        if os.path.islink(place):
            target = os.path.join(os.path.realpath(place), "")
            way = [folder.parent, *(folder.joinpath(*below[:count]) for count in range(len(below)))]
            if any(os.path.join(os.path.realpath(one), "").startswith(target) for one in way):
                raise InputError(f"{field}: {place} is a link to a folder above it, expected no such link")
        folders[:] = [name for name in folders if not hidden(name)]
        yield from ((*below, name) for name in names if not hidden(name))


def warn_of_left_out(folder: Path, endings: Counter[str], images: str = f"images {PLACE}") -> None:
    """Warn of files left out, counted by extension."""
    if endings:
        kinds = ", ".join(f"{count:,} {ending or 'without an ending'}" for ending, count in endings.most_common(5))
        warnings.warn(
            f"data.root: {sum(endings.values()):,} files in {folder} are left out ({kinds}"
            f"{', ...' if len(endings) > 5 else ''}), expected {images}",
            stacklevel=3,
        )


def _warn_of_merged(top: Path, found: dict[str, list[tuple[str, ...]]], nested: bool | None) -> None:
    merged = {name: sorted({"/".join(parts[:-1]) for parts in files}) for name, files in found.items()}
    advice = "" if nested is None else "; data.nested: true makes each a class"
    for name, folders in merged.items():
        if len(folders) > 1 and not nested:
            warnings.warn(
                f"data.root: class {printable(name)!r} in {top} is made of {len(folders)} folders, such as "
                f"{printable(folders[0])} and {printable(folders[1])}{advice}",
                stacklevel=3,
            )
            return


def warn_of_alike(names: Iterable[str]) -> None:
    """Warn of class names differing only in case or in Unicode normalisation."""
    seen: dict[str, str] = {}
    pairs = [(seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name), name) for name in names]
    if alike := [pair for pair in pairs if pair[0] != pair[1]]:
        one, other = map(ascii, alike[0])
        warnings.warn(
            f"data.root: {len(alike)} names of classes differ from another only in case or in how letters are composed "
            f"(NFC, NFD), such as {other} from {one}; taken as classes of their own",
            stacklevel=2,
        )

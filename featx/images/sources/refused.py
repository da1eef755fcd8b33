"""What is no source: say what it is, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from featx.core.address import Address
from featx.core.errors import SourceError
from featx.core.recognise import FileContent, recognise_file
from featx.images.content import Content
from featx.images.elsewhere import describe_elsewhere
from featx.images.format_table import PREFIX_SIZE
from featx.images.formats import is_image, iter_by_content
from featx.images.remote import Location

EXPECTED = "a folder, table, tar or image"

UNPACK = "Unpack it: featx reads folders, tables and plain .tar in place."
WRITE_TABLE = "Write a table with the columns path and label as .csv."
WRITE_IMAGES = "Write its images as files, or to a plain .tar."

KINDS: Mapping[tuple[str, str], str] = {
    ("a compressed archive", UNPACK): "7z bz2 cab gz lz4 rar tbz tbz2 tgz tzst txz xz zip zst",
    ("an image of a disk", UNPACK): "dmg iso",
    ("a spreadsheet", "Save the sheet as .csv."): "numbers ods xls xlsb xlsm xlsx",
    ("a table of a statistics program", "Save it as .csv."): "dta rda rdata rds sav xpt",
    ("a table of Arrow", "Write it as .parquet."): "arrow feather ipc",
    ("a JSON document", "Write one object per line, with path and label, as .jsonl."): "json",
    ("a file of annotations", WRITE_TABLE): "toml xml yaml yml",
    ("a database", WRITE_TABLE): "accdb db db3 lmdb mdb sqlite sqlite3",
    ("a file of records", WRITE_IMAGES): "beton rec tfrec tfrecord tfrecords",
    ("arrays of Python", WRITE_IMAGES): "npy npz pickle pkl pt pth",
    ("arrays of MATLAB or HDF5", WRITE_IMAGES): "h5 hdf hdf5 mat nc",
    ("a document", WRITE_IMAGES): "doc docx odp odt pdf ppt pptx",
    ("a web page", "Download the images."): "htm html mht",
    ("a video", "Write the frames that you want as images."): (
        "3gp avi flv m4v mkv mov mp4 mpeg mpg mts webm wmv"
    ),
}
"""Suffixes of files that are no source, by what the file is and what to do."""

OWN: Mapping[FileContent, tuple[str, str]] = {
    "cache": (
        "a cache, or another HDF5 file",
        "A cache alone goes to featx.predict(head, cache) or featx.fit_head(cache). Of another "
        "file: write its images as files, or to a plain .tar.",
    ),
    "head": ("a head", "Pass images; a head goes to featx.predict(head, images)."),
    "weights": ("a file of weights", "Pass images, and the file as weights=FILE."),
}
"""What to do with a file that featx reads elsewhere."""

BY_CONTENT = {
    "text": WRITE_TABLE,
    "an XML document": WRITE_TABLE,
    "a JSON document": "Write one object per line, with path and label, as .jsonl.",
    "an HTML page": "Download the images.",
    "a Parquet file": "Name it .parquet.",
}
"""What to do with a file by what it holds, if a source asks for another remedy than an image."""

_BY_SUFFIX = {f".{suffix}": told for told, suffixes in KINDS.items() for suffix in suffixes.split()}


def find_remedy(suffixes: Collection[str]) -> str:
    """Find what to do with a folder that holds files of these kinds in place of images.

    Parameters
    ----------
    suffixes : collection of str
        Suffixes of the files.

    Returns
    -------
    str
        A sentence; empty if no suffix is known.
    """
    return next((told[1] for suffix, told in _BY_SUFFIX.items() if suffix in suffixes), "")


def describe_other(path: Path) -> tuple[str, str] | None:
    """Tell what a file is whose suffix is neither that of a table or tar nor that of an image.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    (str, str) or None
        What it is, a noun phrase, and what to do, a sentence; None if its content makes it an
        image, or cannot be read.
    """
    try:
        prefix = Content(str(path)).read(PREFIX_SIZE)
    except OSError:
        return None
    if is_image(prefix):
        return None
    content = recognise_file(path)
    if content is not None:
        return OWN[content]
    told = _BY_SUFFIX.get(path.suffix.lower())
    if told is not None:
        return told
    if not prefix:
        return "an empty file", "Copy it again, or name another source."
    found = next(iter_by_content(prefix), None)
    if found is None:
        what = f"a file of another kind, which begins with {prefix[:8]!r}"
        return what, "Name a source of images."
    if found.reading != "other":  # a weak sign is enough if the user names the file
        return None
    return found.name, BY_CONTENT.get(found.name, found.remedy)


def refuse_other(path: Path) -> None:
    """Refuse a file that is no source by what it is.

    Parameters
    ----------
    path : Path
        A file whose suffix is neither that of a table or tar nor that of an image.

    Raises
    ------
    SourceError
        If its content is no image.
    """
    told = describe_other(path)
    if told is not None:
        raise SourceError(subject=str(path), expected=EXPECTED, got=told[0], remedy=told[1])


def refuse_unreadable(path: Path, error: OSError) -> SourceError:
    """Build the error for a source that the system does not let look at or read.

    Parameters
    ----------
    path : Path
        The path as the user gave it, or that of a folder below it.
    error : OSError
        The error of the system.
    """
    return SourceError(
        subject=str(path),
        expected="a source that can be read",
        got=error.strerror or str(error),
        remedy="Change its permissions, or name another source.",
    )


def build_missing(path: Location) -> SourceError:
    """Build the error for a source that does not exist.

    Parameters
    ----------
    path : Path or Address
        The path as the user gave it.
    """
    if isinstance(path, Address):
        got, remedy = "nothing at this address", "Check the address."
    else:
        got, remedy = describe_elsewhere(str(path)) or ("no file or folder", "Check the path.")
    return SourceError(subject=str(path), expected=EXPECTED, got=got, remedy=remedy)

"""Names of files as one line of text."""

from __future__ import annotations

from contextlib import suppress

from featx.core.columns import Texts
from featx.core.text import escape_text, show_text

MAX_SHOWN = 60
"""Length in characters of a name in a sentence."""


def escape_name(name: str) -> str:
    r"""Write a name as one line of valid UTF-8; different names stay different.

    Parameters
    ----------
    name : str
        Name of a file, a label or the like. Python carries bytes that it cannot decode as
        surrogates: those that are not UTF-8 and, under an ASCII locale, all but ASCII.

    Returns
    -------
    str
        The name, with ``\\`` for a backslash, ``\xNN`` for a byte that is not UTF-8, and
        ``\uNNNN`` for any other character that does not print. All other names stay as they are.

    Examples
    --------
    >>> escape_name("ants/1.jpg")
    'ants/1.jpg'
    >>> print(escape_name("two\nlines.jpg"))
    two\u000alines.jpg
    """
    if name.isascii() and name.isprintable() and "\\" not in name:  # most names
        return name
    if any("\udc80" <= sign <= "\udcff" for sign in name):
        # Under an ASCII locale these are the bytes of good names, which must be the same names.
        with suppress(UnicodeEncodeError):  # another lone surrogate, which came from a table
            data = name.encode("utf-8", "surrogateescape")
            name = data.decode("utf-8", "surrogateescape")
    return escape_text(name.replace("\\", "\\\\"))


def escape_names(names: Texts) -> Texts:
    """Write many names as `escape_name` writes one.

    Parameters
    ----------
    names : Texts
        Names of files.

    Returns
    -------
    Texts
        The names; the same object if none has anything to escape.
    """
    data = names.data
    if not len(data) or ((data >= 32) & (data < 127) & (data != ord("\\"))).all():
        return names
    escaped = Texts.from_list(map(escape_name, names))
    return names if escaped == names else escaped


def quote_name(name: str) -> str:
    """Write a name between quotes for a sentence, shortened if it is long.

    Parameters
    ----------
    name : str
        Name of a file, a folder or a label.

    Examples
    --------
    >>> quote_name("ants")
    "'ants'"
    """
    return f"'{show_text(name, MAX_SHOWN)}'"

"""Text that strangers wrote, such as names, labels and messages: made safe to show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

Cell = TypeVar("Cell")

LIMIT = 300
"""Length in characters of a shown text, unless the caller names another."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def escape_text(text: str) -> str:
    r"""Write a text as one line of valid UTF-8 that a terminal shows as it is.

    Parameters
    ----------
    text : str
        Any text. Python carries bytes that are not UTF-8 as surrogates.

    Returns
    -------
    str
        The text, with ``\xNN`` for a byte that is not UTF-8, and ``\uNNNN`` for any other character
        that does not print: line breaks, terminal escapes, controls that reverse the direction of
        writing.

    Examples
    --------
    >>> escape_text("ants/1.jpg")
    'ants/1.jpg'
    >>> print(escape_text("two\nlines, \x1b[31mred"))
    two\u000alines, \u001b[31mred
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else _escape_character(character) for character in text
    )


def _escape_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def shorten(text: str, limit: int = LIMIT) -> str:
    """Leave out the middle of a text that is too long.

    Parameters
    ----------
    text : str
        The text.
    limit : int
        Largest length of the result in characters, 3 or more.

    Returns
    -------
    str
        The text, or its beginning and its end with ``…`` between them.

    Examples
    --------
    >>> shorten("one two three four", 9)
    'one t…our'
    """
    if len(text) <= limit:
        return text
    n_end = (limit - 1) * 2 // 5  # the end of a path says more than its middle
    return f"{text[: limit - 1 - n_end]}…{text[len(text) - n_end :]}"


def show_text(text: str, limit: int = LIMIT) -> str:
    """Write a text as one printable line of limited length, also if it has megabytes.

    Parameters
    ----------
    text : str
        Any text.
    limit : int
        Largest length of the result in characters.
    """
    return shorten(escape_text(shorten(text, limit)), limit)


def count_noun(n: int, noun: str) -> str:
    """Write a number with its noun, in the plural if need be, and thousands grouped.

    Parameters
    ----------
    n : int
        Number of things.
    noun : str
        The noun in the singular.

    Examples
    --------
    >>> count_noun(1, "row"), count_noun(2000, "row"), count_noun(2, "class")
    ('1 row', '2,000 rows', '2 classes')
    """
    ending = "" if n == 1 else "es" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{ending}"


def is_number(text: str) -> bool:
    """Tell whether a text is a finite number, as programs write it with a decimal point.

    Parameters
    ----------
    text : str
        Any text.

    Examples
    --------
    >>> [is_number(text) for text in ("-1.5", "2e3", "nan", "1_000", "v1.0", "")]
    [True, True, False, False, False, False]
    """
    return _NUMBER.fullmatch(text) is not None


def guard_cell(cell: Cell) -> Cell | str:
    """Put a quote before a cell of a table that a spreadsheet program would run as a formula.

    Parameters
    ----------
    cell : object
        A text, or a value of another type, which is returned as it is.

    Returns
    -------
    object
        The cell. A text whose first character, blanks aside, is one of ``= + - @`` or their wide
        forms, or that begins with a tab or a line break, has ``'`` before it, unless the text is a
        number.

    Examples
    --------
    >>> [guard_cell(cell) for cell in ("ants", "=1+1", "-1.5", -1.5)]
    ['ants', "'=1+1", '-1.5', -1.5]
    """
    if not isinstance(cell, str) or is_number(cell):
        return cell
    start = cell.lstrip("'")  # one more quote before a guarded text, so that texts stay different
    is_formula = start[:1] in tuple("\t\r\n") or start.lstrip()[:1] in tuple("=+-@＝＋－＠")
    return f"'{cell}" if is_formula else cell


def unguard_cell(cell: str) -> str:
    """Take off the quote that `guard_cell` put before a cell.

    Parameters
    ----------
    cell : str
        Text of a cell that `guard_cell` returned.

    Examples
    --------
    >>> [unguard_cell(cell) for cell in ("'=1+1", "'tis", "-1.5")]
    ['=1+1', "'tis", '-1.5']
    """
    return cell[1:] if cell[:1] == "'" and guard_cell(cell[1:]) == cell else cell


def join_some(texts: Sequence[str], n_shown: int) -> str:
    """Join the first of several texts as in a sentence, and count the others.

    Parameters
    ----------
    texts : sequence of str
        At least one text.
    n_shown : int
        Number of texts to show.

    Examples
    --------
    >>> join_some(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    shown = [*texts[:n_shown], *([f"{len(texts) - n_shown} more"] if len(texts) > n_shown else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"

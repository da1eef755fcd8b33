"""Names of files as one line of text."""

from __future__ import annotations


def escape_name(name: str) -> str:
    r"""Write a name as one line of valid UTF-8; different names stay different.

    Parameters
    ----------
    name : str
        Name of a file, a label or the like. Python carries bytes that are not UTF-8 as surrogates.

    Returns
    -------
    str
        The name, with ``\\`` for a backslash, ``\xNN`` for a byte that is not UTF-8, and
        ``\uNNNN`` for any other character that cannot be printed. All other names stay as they
        are.

    Examples
    --------
    >>> escape_name("ants/1.jpg")
    'ants/1.jpg'
    >>> print(escape_name("two\nlines.jpg"))
    two\u000alines.jpg
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(_escape_character(character) for character in name)


def _escape_character(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

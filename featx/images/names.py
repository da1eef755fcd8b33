"""Names of files as one line of text."""

from __future__ import annotations

from featx.core.text import escape_text


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
        ``\uNNNN`` for any other character that does not print. All other names stay as they are.

    Examples
    --------
    >>> escape_name("ants/1.jpg")
    'ants/1.jpg'
    >>> print(escape_name("two\nlines.jpg"))
    two\u000alines.jpg
    """
    return escape_text(name.replace("\\", "\\\\"))

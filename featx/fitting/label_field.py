"""Names of the columns that people may speak of: label, split, group, and further ones."""

from __future__ import annotations

import difflib

from featx.core.errors import SourceError, suggest
from featx.core.row_tables import MAX_NAME, TAKEN
from featx.core.text import shorten
from featx.images.labels import clean_label
from featx.labels.element import FIELDS

CLOSE = 0.8
"""Smallest similarity of a near miss, as `difflib` measures it: that of ``lable`` and ``label``."""


def clean_field(field: object) -> str:
    """Bring the name of a column into the form in which it is recorded.

    Parameters
    ----------
    field : object
        Name as given.

    Returns
    -------
    str
        One of label, split and group in lower case, or the name of a further column.

    Raises
    ------
    SourceError
        If the name is no text, is empty or too long, means something else, or is a near miss of
        label, split or group.

    Examples
    --------
    >>> clean_field("Split"), clean_field(" price  in EUR")
    ('split', 'price in EUR')
    """
    name = (clean_label(field) or "") if isinstance(field, str) else ""
    if name.casefold() in FIELDS:
        return name.casefold()
    if not name or len(name) > MAX_NAME or name.casefold() in TAKEN:
        raise SourceError(
            subject="field",
            expected=f"{', '.join(FIELDS)}, or the name of another column of the table",
            got=shorten(repr(field), 100),
            remedy="Rename the column in the table." if name else "Pass the name of a column.",
        )
    if difflib.get_close_matches(name.casefold(), FIELDS, cutoff=CLOSE):
        raise SourceError(
            subject="field",
            expected=f"{', '.join(FIELDS)}, or a name that is less like them",
            got=repr(name),
            remedy=suggest(name, FIELDS),
        )
    return name

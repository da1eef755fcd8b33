"""Labels: the one form in which class names are kept, and notes about doubtful ones."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from featx.core.columns import Categories
from featx.core.text import count_noun, join_some
from featx.images.names import escape_name, quote_name

INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))
"""Characters that no program shows: two labels that differ only by them look the same."""

LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u03b1\u03bf\u03bd\u03c1\u03c7",
    "aeopcyxijsaovpx",
)
"""Small letters of Cyrillic and Greek that look like Latin ones."""

MISSING_WORDS = frozenset(
    [
        *("NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NULL", "null", "None"),
        *("#N/A", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"),  # errors of Excel
    ]
)
"""Words that R, pandas and Excel write for a missing value."""

DOUBTFUL = frozenset(
    [
        *map(str.casefold, MISSING_WORDS),
        *("n.a.", "nat", "nil", "missing", "undefined", "unlabeled", "unlabelled"),
        *("-", "--", "?", "."),
    ]
)
"""Labels that may mean "no label", in lower case."""

_WHOLE = re.compile(r"([+-]?\d+)[.,]0+")
"""A whole number as table software writes it in a column that also has missing values."""

N_SHOWN = 5
"""Number of labels that one note names."""


def clean_label(text: str) -> str | None:
    """Bring a class name into the one form that featx keeps, whatever source it comes from.

    Names that look the same become the same: the name is normalised to Unicode NFC (macOS writes
    NFD), blanks around the name and invisible characters are taken off, and each run of blanks
    inside becomes one space.

    Parameters
    ----------
    text : str
        Name of a class, or of a group, as the source has it.

    Returns
    -------
    str or None
        The name as one printable line; None if nothing is left of it.

    Examples
    --------
    >>> clean_label("  polar\u00a0bear ")
    'polar bear'
    >>> clean_label("cafe\u0301") == clean_label("caf\u00e9")
    True
    """
    if text.isascii() and text.isalnum():  # most labels
        return text
    text = unicodedata.normalize("NFC", text.translate(INVISIBLE)).strip()
    text = "".join(" " if unicodedata.category(one) == "Zs" else one for one in text)
    return escape_name(re.sub(" +", " ", text)) or None


def drop_zeros(column: Categories) -> Categories:
    """Write labels as whole numbers if all of a column are decimals such as 1.0 or 1,0.

    pandas and Excel write 1 so in a column that has missing values: a head that knows the class 1
    would not know 1.0.

    Parameters
    ----------
    column : Categories
        Labels or groups of a table.

    Returns
    -------
    Categories
        The whole numbers; the column itself if a value is something else, or if it has none.

    Examples
    --------
    >>> drop_zeros(Categories.from_list(["1.0", None, "2.0"])).to_list()
    ['1', '', '2']
    >>> drop_zeros(Categories.from_list(["1.0", "1.5"])).to_list()
    ['1.0', '1.5']
    """
    names = column.names[1:].to_list()
    if not names or not all(map(_WHOLE.fullmatch, names)):
        return column
    whole = Categories.from_list(["", *(_WHOLE.sub(r"\1", name) for name in names)])
    return whole[column.codes]


def list_label_notes(counts: Mapping[str, int]) -> list[str]:
    """List what is doubtful about the labels of a source.

    Parameters
    ----------
    counts : mapping of str to int
        Number of rows of each label.

    Returns
    -------
    list of str
        Sentences: labels that differ only by case, by the way a number is written, or by characters
        that look alike; labels that mean "no value"; and decimals that may once have been codes.

    Examples
    --------
    >>> list_label_notes({"Cat": 2, "cat": 3})
    ["labels differ only by case: 'Cat' (2 rows) and 'cat' (3 rows). They are different classes."]
    """
    notes = []
    alike: dict[str, list[str]] = {}
    for label in sorted(counts):
        alike.setdefault(_blur(label), []).append(label)
    # Without the label that they would be copies of, "red (1)" and "red (2)" are classes.
    groups = [
        group
        for group in alike.values()
        if len(group) > 1 and any(label == _fold_copy(label) for label in group)
    ]
    for reason in dict.fromkeys(map(_name_difference, groups)):
        found = [group for group in groups if _name_difference(group) == reason]
        shown = "; ".join(_join(group, counts) for group in found[:N_SHOWN])
        more = f"; and {len(found) - N_SHOWN} more" if len(found) > N_SHOWN else ""
        notes.append(f"labels differ only by {reason}: {shown}{more}. They are different classes.")
    missing = [label for label in sorted(counts) if label.casefold() in DOUBTFUL]
    if missing:
        notes.append(
            f"{_join(missing, counts)}: featx reads such labels as names of classes. "
            'If they stand for "no label", leave them empty.'
        )
    decimals = [label for label in sorted(counts) if re.fullmatch(r"-?\d+\.0+", label)]
    if decimals and not groups:
        notes.append(
            f"{_join(decimals, counts)}: labels that are decimals. If they are codes of classes, "
            "write them without the decimals: another source may have them so."
        )
    return notes


def _fold_case(label: str) -> str:
    return unicodedata.normalize("NFC", label.casefold())


def _fold_number(label: str) -> str:
    """Write numbers in one form: ``01``, ``+1``, ``1.0`` and ``1``; ``class01`` and ``class1``."""
    if re.fullmatch(r"[-+]?\d+\.0*", label):
        label = label.partition(".")[0]
    return re.sub(r"(?<![\d.])0+(?=\d)", "", label.removeprefix("+"))


def _fold_marks(label: str) -> str:
    """Take off what separates words: ``polar_bear`` and ``polar-bear`` are alike."""
    return re.sub(r"(?<=\w)[\s_\-]+(?=\w)", "", label)


def _fold_looks(label: str) -> str:
    return unicodedata.normalize("NFKC", label).translate(LOOKALIKES)


def _fold_copy(label: str) -> str:
    """Take off what systems put behind the name of a copy: ``cat copy``, ``cat - Copy (2)``."""
    return re.sub(r"(?i)(?: -)? copy(?: \d+| \(\d+\))?$| \(\d+\)$", "", label)


def _blur(label: str) -> str:
    return _fold_number(_fold_marks(_fold_copy(_fold_looks(_fold_case(label)))))


DIFFERENCES: Mapping[str, Callable[[str], str]] = {
    "case": _fold_case,
    "the form of a number": _fold_number,
    "blanks, hyphens or underscores": _fold_marks,
    "characters that look alike": _fold_looks,
    "the mark of a copy": _fold_copy,
}


def _name_difference(group: list[str]) -> str:
    """Name the one kind of difference that sets all labels of a group apart."""
    for name, fold in DIFFERENCES.items():
        if len({fold(label) for label in group}) == 1:
            return name
    return "case, signs and characters that look alike"


def _join(labels: list[str], counts: Mapping[str, int]) -> str:
    shown = [
        f"{quote_name(label)} ({count_noun(counts[label], 'row')})"
        for label in labels[: N_SHOWN + 1]
    ]
    return join_some([*shown, *labels[N_SHOWN + 1 :]], N_SHOWN)

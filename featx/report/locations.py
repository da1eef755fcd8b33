"""Where the files of a report lie: a page that is mailed names files, not folders of a machine."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from featx.cache.reader import Cache
from featx.core.address import list_paths, name_location
from featx.core.typing import PathLike
from featx.heads.head import Head
from featx.report.contents import Finding, HeadPart, ReportContents, TargetPart


def list_cache_paths(cache: Cache) -> list[str]:
    """List the paths by which a user names a cache: one, or those of several that are one.

    Parameters
    ----------
    cache : Cache
        Open cache.
    """
    is_path = os.path.exists(cache.path) or glob.has_magic(str(cache.path))
    if is_path or len(cache.members) == 1:
        return [name_location(cache.path)]
    return [name_location(one.path) for one in cache.members]


def name_cache(cache: Cache) -> str:
    """Name a cache by its file, or by its files.

    Parameters
    ----------
    cache : Cache
        Open cache.
    """
    names = [Path(path).name or path for path in list_cache_paths(cache)]
    return " and ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1:,} more"


def split_paths(text: str) -> list[str]:
    """Split the paths that featx recorded in one text, of several sources or caches.

    Parameters
    ----------
    text : str
        A path, or several with commas and "and" between them.
    """
    parts = re.split(", | and ", text)
    is_several = len(parts) > 1 and not os.path.exists(text) and all(map(os.path.exists, parts))
    return parts if is_several else [text]


class Locations:
    """Paths that a page would tell, each with the name that it shows in their place.

    Parameters
    ----------
    cache : Cache
        Open cache.
    heads : iterable of Head
        Heads.
    others : iterable of str
        Further paths, such as those of the heads and of the page.
    """

    def __init__(self, cache: Cache, heads: Iterable[Head], others: Iterable[str]) -> None:
        told = [*list_cache_paths(cache), *split_paths(cache.source), *others]
        for one in heads:
            told += split_paths(one.fitted_on.cache)
        for name in cache.embeddings:
            made = cache.get_info(name).provenance
            told += [made.source, made.origin.weights, made.origin.preprocess_from or ""]
        paths = sorted({one for one in told if os.path.isabs(one)}, key=len, reverse=True)
        self._names = [(str(cache.path), name_cache(cache))] if " and " in str(cache.path) else []
        self._names += [(path, Path(path).name or path) for path in paths]

    def hide(self, text: str) -> str:
        """Write names in place of the paths in a sentence.

        Parameters
        ----------
        text : str
            The sentence.
        """
        for path, name in self._names:
            text = text.replace(path, name)
        return text

    def hide_all(self, contents: ReportContents) -> ReportContents:
        """Write names in place of the paths in all that a page says, its commands aside.

        Parameters
        ----------
        contents : ReportContents
            What the page says.
        """
        return replace(
            contents,
            summary=self._hide_each(contents.summary),
            failures=self._hide_pairs(contents.failures),
            findings=[self._hide_finding(one) for one in contents.findings],
            heads=[self._hide_head(one) for one in contents.heads],
            targets=[self._hide_target(one) for one in contents.targets],
            curve_note=self.hide(contents.curve_note),
            tuning_note=self.hide(contents.tuning_note),
            provenance=self._hide_pairs(contents.provenance),
        )

    def _hide_each(self, texts: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.hide(text) for text in texts)

    def _hide_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(self.hide(name), self.hide(value)) for name, value in pairs]

    def _hide_finding(self, one: Finding) -> Finding:
        cards = [(rows, self._hide_each(lines)) for rows, lines in one.cards]
        return replace(one, text=self.hide(one.text), cards=cards)

    def _hide_head(self, one: HeadPart) -> HeadPart:
        return replace(
            one,
            facts=self._hide_pairs(one.facts),
            notes=self._hide_each(one.notes),
            map_note=self.hide(one.map_note),
        )

    def _hide_target(self, one: TargetPart) -> TargetPart:
        return replace(one, facts=self._hide_pairs(one.facts), notes=self._hide_each(one.notes))


def list_given(source: PathLike | Sequence[PathLike] | None) -> list[str]:
    """List the sources that a user passes, without passwords.

    Parameters
    ----------
    source : path, sequence of paths or None
        What is passed; None for nothing.
    """
    return [] if source is None else [name_location(one) for one in list_paths(source)]


def shorten_path(text: str) -> str:
    """Write a path from the current folder on, if it lies in it.

    Parameters
    ----------
    text : str
        Path, or any other word of a command.
    """
    if not os.path.isabs(text):
        return text
    short = os.path.relpath(text)
    return text if short.startswith(os.pardir) else short


def shorten_paths(text: str) -> str:
    """Write a path, or several with words between them, as `shorten_path` does.

    Parameters
    ----------
    text : str
        Name of a cache, or of several that are one.
    """
    for path in split_paths(text):
        text = text.replace(path, shorten_path(path))
    return text

"""Rows that are suggested to be labelled next, as a record and as a table."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from featx.analytics.gain import LabellingGain
from featx.core.errors import CacheError
from featx.core.files import replacing
from featx.core.text import escape_text, guard_cell
from featx.core.typing import Float64Array, IntArray, PathLike, Split, StrArray, Strategy

COLUMNS = ("id", "path", "label", "split", "score", "why")
"""Columns of the table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Suggestions:
    """Rows of a cache to label next, the most useful first.

    Attributes
    ----------
    rows : ndarray of int64
        ``(n,)``, numbers of the rows.
    ids, paths : ndarray of str
        ``(n,)``, identity of each row, and path of its image.
    scores : ndarray of float64
        ``(n,)``, from 0 to 1. Of a typical row, the share of the rows that lie in its cluster; of
        an uncertain one, 1 less the margin between the two most probable classes; NaN of a random
        one.
    reasons : tuple of str
        Reason for each row, in words.
    strategy : {"typical", "uncertain", "random"}
        Way in which the rows were chosen.
    because : str
        Reason for the strategy, in words.
    split : {"train", "val"}
        Split that the table proposes: val for random rows, train for others.
    n_labels, n_classes : int
        Numbers of labels and of classes that the strategy was chosen by.
    n_rows, n_labelled, n_held_out, n_without_vector, n_alike, n_open : int
        Number of all rows of the cache; and of these, of rows with a label; of others in val or
        test; of others without a vector; of others that are copies, or of the group, of another
        row; and of rows that may be labelled next. They add up.
    n_considered : int
        Number of open rows that were looked at: at most 20,000, drawn at random, or ten times as
        many as were asked for.
    gain : LabellingGain or None
        Gain of the last labels; None if no earlier head was given.

    See Also
    --------
    featx.suggest : Choose the rows.
    """

    rows: IntArray
    ids: StrArray
    paths: StrArray
    scores: Float64Array
    reasons: tuple[str, ...]
    strategy: Strategy
    because: str
    split: Split
    n_labels: int
    n_classes: int
    n_rows: int
    n_labelled: int
    n_held_out: int
    n_without_vector: int
    n_alike: int
    n_open: int
    n_considered: int
    gain: LabellingGain | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def list_lines(self) -> list[dict[str, Any]]:
        """List the rows as objects: id, path, split, score (None if it has none) and why."""
        return [
            {
                "id": id,
                "path": path,
                "split": self.split,
                "score": None if math.isnan(score) else score,
                "why": why,
            }
            for id, path, score, why in zip(
                self.ids.tolist(),
                self.paths.tolist(),
                self.scores.tolist(),
                self.reasons,
                strict=True,
            )
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON: the rows as ``suggestions``."""
        left_out = ("rows", "ids", "paths", "scores", "reasons", "split", "gain")
        names = [one.name for one in fields(self) if one.name not in left_out]
        return {
            **{name: getattr(self, name) for name in names},
            "labelling_gain": self.gain and self.gain.to_dict(),
            "suggestions": self.list_lines(),
        }

    def write(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write a CSV table with an empty column ``label`` for a person to fill in.

        Pass the table to `featx.label_cache`. It reads the column ``label``, and with
        ``field="split"`` the column ``split``. A row whose id a spreadsheet program would run as a
        formula has its path only.

        Parameters
        ----------
        path : path
            File to write.
        overwrite : bool
            Whether to replace a file that exists. A person may have written labels into it.

        Raises
        ------
        CacheError
            If the file exists, or cannot be written.
        """
        with (
            replacing(Path(path), error=CacheError, overwrite=overwrite) as draft,
            draft.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            for line in self.list_lines():
                id, score = line["id"], line["score"]
                writer.writerow(
                    [
                        id if guard_cell(id) == id else "",
                        guard_cell(line["path"]),
                        "",
                        line["split"],
                        "" if score is None else f"{score:.4f}",
                        guard_cell(escape_text(line["why"])),
                    ]
                )

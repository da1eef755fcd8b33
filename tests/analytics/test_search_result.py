"""The result of a search in a notebook: a table of rows, with their cosines."""

from pathlib import Path

import featx


def test_notebook_shows_the_rows_that_were_found(cache_path: Path) -> None:
    found = featx.search(cache_path, ["bees/000.jpg"], top=2)
    shown = found._repr_html_()
    assert "60" in shown
    assert [found.ids[0, place] in shown for place in range(2)] == [True, True]
    assert f">{found.scores[0, 0]:.3f}<" in shown
    assert shown.count("<tr>") == 6  # three facts, a header and two rows

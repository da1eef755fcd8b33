"""Options of the whole program: anywhere on the line, and what they change."""

from pathlib import Path
from typing import Any

import pytest

from featx.cli.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("line", "rest", "settings"),
    [
        ("info a.h5", "info a.h5", Settings()),
        ("-q info a.h5", "info a.h5", Settings(quiet=True)),
        ("info a.h5 --quiet", "info a.h5", Settings(quiet=True)),
        ("info -v a.h5 --debug", "info a.h5", Settings(verbose=True, debug=True)),
        ("info --progress a.h5 --no-progress", "info a.h5", Settings(progress=False)),
        ("info -- -q", "info -- -q", Settings()),
        ("extract -o -q.h5", "extract -o -q.h5", Settings()),
        ("", "", Settings()),
    ],
)
def test_read_settings_takes_them_from_anywhere(line: str, rest: str, settings: Settings) -> None:
    assert read_settings(line.split()) == (rest.split(), settings)


def extract(run_cli: Any, photos: Path, backbone: str, *words: str) -> Any:
    line = ["extract", photos, "-o", photos.parent / "new.h5", "--backbone", backbone]
    return run_cli(*line, "--overwrite", *words)


def test_quiet_hides_notes_and_keeps_the_result_and_errors(
    run_cli: Any, photos: Path, tiny_backbone: str
) -> None:
    (photos / "train/ants/bad.jpg").write_bytes(b"no image")
    loud = extract(run_cli, photos, tiny_backbone, "--max-failures", "2")
    assert "failed" in loud.err
    result = extract(run_cli, photos, tiny_backbone, "--max-failures", "2", "-q")
    assert (result.code, result.err) == (0, "")
    assert "new.h5: 12 rows" in result.out
    refused = extract(run_cli, photos, tiny_backbone, "--max-failures", "0", "-q")
    assert refused.code == 3
    assert len(refused.err.splitlines()) == 1


def test_verbose_tells_how_long_each_step_took_and_no_note_twice(
    run_cli: Any, photos: Path, tiny_backbone: str
) -> None:
    (photos / "train/ants/bad.jpg").write_bytes(b"no image")
    result = extract(run_cli, photos, tiny_backbone, "--max-failures", "2", "--verbose")
    lines = result.err.splitlines()
    steps = [line.rpartition(":")[0] for line in lines if line.endswith(" s")]
    assert "featx: listing images" in steps
    assert "featx: embedding" in steps
    assert "featx: writing new.h5" in steps
    assert len(lines) == len(set(lines))
    assert "featx: listing images" not in extract(run_cli, photos, tiny_backbone).err


def test_progress_on_request_is_shown_without_a_terminal(
    run_cli: Any, photos: Path, tiny_backbone: str
) -> None:
    result = extract(run_cli, photos, tiny_backbone, "--progress")
    assert "featx: embedding: 12 of 12 images (100 %)" in result.err

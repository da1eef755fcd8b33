"""What a newcomer runs first."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from featx.demo import write_digits
from featx.images.decode import decode_image


def test_write_digits_pictures_are_the_digits(tmp_path: Path) -> None:
    write_digits(tmp_path)
    digits = load_digits()
    paths = sorted(tmp_path.glob("*/*.png"), key=lambda path: path.stem)
    assert len(paths) == 1797
    for number in (0, 900, 1796):
        path = paths[number]
        assert path.parent.name == str(digits.target[number])
        gray = np.asarray(decode_image(path.read_bytes()))[:, :, 0]
        assert np.abs(gray / 255 * 16 - digits.images[number]).max() < 0.04


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run the demo once, as `featx demo` does; return its folder and what it printed."""
    import contextlib
    import io

    from featx.cli import main

    folder = tmp_path_factory.mktemp("demo")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
        main(["demo", "-o", str(folder)])
    assert ended.value.code == 0
    return folder, out.getvalue()


@pytest.mark.slow
def test_demo_prints_the_commands_that_it_runs(demo: Any) -> None:
    _, text = demo
    commands = re.findall(r"^\$ featx (\S+)", text, re.M)
    assert commands == ["extract", "split", "fit-head", "evaluate", "predict", "extract", "split"]


@pytest.mark.slow
def test_demo_prints_the_controls_beside_the_result(demo: Any) -> None:
    _, text = demo
    scores = dict(re.findall(r"^  (\S.*?\S) +(0\.\d{3}) \(95", text, re.M))
    assert list(scores) == ["mini", "mini, random weights", "raw pixels"]
    mini, untrained, pixels = (float(score) for score in scores.values())
    assert mini >= 0.985
    assert min(mini, untrained) > pixels > 0.95


@pytest.mark.slow
def test_demo_page_is_whole_and_fetches_nothing(demo: Any) -> None:
    folder, _ = demo
    page = (folder / "demo.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 120
    assert page.count("<circle ") == 1797 + 10
    assert page.count('<table class="confusion">') == 1
    assert not re.search(r"(src|href)=.(?!data:)", page)

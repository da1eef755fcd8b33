"""A report is one page: it holds all it shows, runs its own script alone, and shows any name."""

import base64
import hashlib
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from featx.core.errors import FeatxError
from featx.report import report_page
from featx.report.contents import ReportContents
from featx.report.render import FOLDER
from featx.report.report_page import PageImages, render_report
from tests.report.contents import (
    AWKWARD,
    build_awkward,
    build_contents,
    build_empty,
    build_small,
    build_unscored,
)
from tests.report.test_gallery import compute_contrast

VOID = {"meta", "link", "img", "input", "br"}
"""Tags of HTML that have no end."""


class Tree(HTMLParser):
    """Collect the tags of a page, and see that each is closed where it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def get(self, name: str) -> list[str]:
        """Return all values of an attribute."""
        return [str(attributes[name]) for _, attributes in self.tags if name in attributes]


def build_many() -> ReportContents:
    """Build contents of more classes than a matrix or a table shows at once."""
    names = [f"class {number:02}" for number in range(70)]
    return build_contents(names, n_per_class=4, accuracies=[0.6], with_maps=False, side=8)


BUILDERS = {
    "small": build_small,
    "many": build_many,
    "awkward": build_awkward,
    "unscored": build_unscored,
    "empty": build_empty,
}


@pytest.fixture(scope="module")
def pages() -> dict[str, tuple[ReportContents, str]]:
    """All contents with their pages."""
    built = {name: build() for name, build in BUILDERS.items()}
    return {name: (contents, render_report(contents)) for name, contents in built.items()}


Pages = dict[str, tuple[ReportContents, str]]


@pytest.mark.parametrize("name", BUILDERS)
def test_page_is_well_formed(name: str, pages: Pages) -> None:
    tree = Tree(pages[name][1])
    ids = tree.get("id")
    assert len(set(ids)) == len(ids)
    known = set(ids)
    for attribute in ("for", "aria-labelledby", "aria-describedby"):
        assert set(tree.get(attribute)) <= known
    assert {one[1:] for one in tree.get("href") if one.startswith("#")} <= known
    levels = [int(tag[1]) for tag, _ in tree.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(one.get("alt") for one in tree.find("img"))
    assert all(one.get("scope") for one in tree.find("th"))


@pytest.mark.parametrize("name", BUILDERS)
def test_page_runs_its_own_script_alone_and_asks_for_nothing(name: str, pages: Pages) -> None:
    text = pages[name][1]
    tree = Tree(text)
    (policy,) = (str(one["content"]) for one in tree.find("meta") if "http-equiv" in one)
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    for kind, body in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not re.search("https?:", text)
    names = {attribute for _, attributes in tree.tags for attribute in attributes}
    assert not {one for one in names if one.startswith("on") or one == "style"}
    assert all(one.startswith("data:") for one in tree.get("src"))
    assert all(one.startswith(("#", "data:")) for one in tree.get("href"))


@pytest.mark.parametrize("name", BUILDERS)
def test_each_image_is_on_the_page_once(name: str, pages: Pages) -> None:
    contents, text = pages[name]
    tree, island = Tree(text), read_island(text)
    shown = [int(row) for row in tree.get("data-row")]
    others = [int(row) for row in island["images"]]
    with_image = [row for row, one in enumerate(contents.rows.thumbnails) if one is not None]
    assert sorted(shown + others) == with_image
    assert set(tree.get("href")) >= {f"#image-{row}" for row in PageImages(contents).repeated}


def read_island(text: str) -> Any:
    """Read the values that the script reads."""
    (found,) = re.findall(
        '<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL
    )
    return json.loads(found)


def test_names_of_strangers_are_text(pages: Pages) -> None:
    _, text = pages["awkward"]
    tree = Tree(text)
    assert text.lower().count("<script") == text.lower().count("</script") == 2
    assert "<b>bold" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
    shown = {"".join(tree.texts["span"])}
    for name in AWKWARD[:3]:
        assert any(name in one for one in shown)
    island = read_island(text)
    assert island["classes"][0] == AWKWARD[0]
    assert island["classes"][3] == "turned \\u202e round"
    assert island["classes"][-1] == "(no name)"
    text.encode()  # no lone surrogate is left


def test_classes_that_look_alike_are_told_apart(pages: Pages) -> None:
    contents = pages["small"][0]
    names = tuple(f"{'x' * 400}{number}{'x' * 400}" for number in range(len(contents.classes)))
    heads = [replace(head, classes=names[::-1]) for head in contents.heads]
    island = read_island(render_report(replace(contents, classes=names, heads=heads)))
    assert len(set(island["classes"])) == 1
    assert island["heads"][0]["labels"] == list(range(len(names)))[::-1]


def test_confusion_matrix_holds_all_rows(pages: Pages) -> None:
    contents, text = pages["small"]
    counts = [tuple(map(int, one.split(","))) for one in Tree(text).get("data-cell")]
    for number, head in enumerate(contents.heads):
        shown = {(true, said): n for of, true, said, n in counts if of == number}
        assert head.scores is not None
        for true, line in enumerate(head.scores.confusion):
            for said, n in enumerate(line):
                assert shown.get((true, said), 0) == n


def test_many_classes_are_searched_not_shown(pages: Pages) -> None:
    contents, text = pages["many"]
    tree = Tree(text)
    assert "Classes that are taken for others" in text
    assert {"counts", "samples", "head-1-recall"} <= set(tree.get("data-search"))
    (body,) = re.findall('<tbody id="counts-lines">(.*?)</tbody>', text, re.DOTALL)
    shown, rest = body.split("<template>")
    assert shown.count("<tr") == report_page.MAX_LINES
    assert rest.count("<tr") == len(contents.classes) - report_page.MAX_LINES


def test_empty_report_has_no_empty_sections(pages: Pages) -> None:
    tree = Tree(pages["empty"][1])
    headings = [text.strip() for text in tree.texts["h2"]]
    assert headings == ["Summary", "Data", "Learning curve", "Images"]


def test_rows_without_a_label_and_heads_without_scores_are_told(pages: Pages) -> None:
    tree = Tree(pages["unscored"][1])
    assert {"no label", "<b>", "price.joblib"} <= {
        text.strip() for texts in tree.texts.values() for text in texts
    }
    assert not tree.get("data-cell")
    assert "0.5" in tree.texts["td"]
    assert "-" in tree.texts["td"]


def test_too_large_a_page_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_page, "MAX_BYTES", 10_000)
    with pytest.raises(FeatxError, match="Show fewer or smaller images"):
        render_report(build_empty())


def test_colours_have_enough_contrast(pages: Pages) -> None:
    text = pages["empty"][1]
    themes = re.findall(r":root \{([^}]*--ink[^}]*)\}", text)
    marks = re.findall(r":root \{([^}]*--mark-0[^}]*)\}", text)
    assert len(themes) == len(marks) == 2
    for theme, mark in zip(themes, marks, strict=True):
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", theme + mark))
        for name, colour in colours.items():
            if name.startswith("mark"):
                for ground in ("paper", "field"):
                    assert compute_contrast(colour, colours[ground]) >= 3, (name, ground)
        for wash in ("good", "bad"):
            for share in re.findall(r"var\(--wash\) (\d+)%", (FOLDER / "report.css").read_text()):
                mixed = mix(colours[wash], colours["paper"], int(share) / 100)
                assert compute_contrast(colours["ink"], mixed) >= 4.5, (wash, share)


def mix(first: str, second: str, share: float) -> str:
    """Mix two colours as ``color-mix`` in sRGB does."""
    parts = zip(bytes.fromhex(first[1:]), bytes.fromhex(second[1:]), strict=True)
    return "#" + bytes(round(a * share + b * (1 - share)) for a, b in parts).hex()

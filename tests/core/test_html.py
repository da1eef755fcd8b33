"""Small tables for notebooks: everything that strangers wrote is escaped, long tables are cut."""

from featx.core.html import MAX_LINES, render_card


def test_names_and_values_are_escaped() -> None:
    shown = render_card("<script>", [("a & b", '"quoted"'), ("<i>", "\u202e\x1b[31m")])
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "a &amp; b" in shown
    assert "&quot;quoted&quot;" in shown
    assert "\\u202e\\u001b[31m" in shown


def test_values_are_shown_by_their_type() -> None:
    shown = render_card("x", [("none", None), ("share", 0.12345), ("rows", 12345)])
    assert [text in shown for text in (">-<", ">0.123<", ">12,345<")] == [True] * 3


def test_long_table_is_cut_and_counted() -> None:
    lines = [(f"class {number}", number) for number in range(MAX_LINES + 3)]
    shown = render_card("x", [], table=(("label", "rows"), lines))
    assert shown.count("<tr>") == MAX_LINES + 1
    assert "… and 3 more" in shown
    assert '<th scope="col"' in shown
    assert '<th scope="row"' in shown


def test_colours_are_those_of_the_notebook() -> None:
    shown = render_card("x", [("a", 1)], table=(("label",), [("b",)]))
    assert "color: " not in shown.replace("border-bottom", "")
    assert "background" not in shown

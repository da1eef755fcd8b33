"""Figures for papers: axes without pyplot, colours for everybody, safe names, and files."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.core.errors import FeatxError, require
from featx.core.files import replacing
from featx.core.process import SharedBlock, ignore_warnings
from featx.core.text import show_text
from featx.core.typing import PathLike
from featx.report.gallery import check_replaceable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

EXTRA = "plot"

BLUE, RED, GREEN, GREY = "#4477AA", "#EE6677", "#228833", "#BBBBBB"
"""The colours "bright" of Paul Tol, which colour-blind people can tell apart."""

COLOURS = (
    *("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99"),
    *("#999933", "#AA4499"),
)
"""His colours "muted", for many classes."""

MARKERS = "osD^vPX<>*"
"""Signs of points: no colour alone says anything. Ten signs and nine colours make 90 looks."""

LEFT_TO_RIGHT = "\u200e"
"""Sign without width: what is written before and after it runs from left to right."""

MAX_NAME = 32
"""Length in characters of the name of a class in a figure."""

DPI = 300
"""Dots per inch of a PNG, as journals want."""

INCHES_PER_LINE, INCHES_PER_LETTER = 0.24, 0.09
"""Height of a line with a name, and the mean width of a letter."""

BELOW_INCHES = 0.5
"""Height of what stands below axes: the ticks and the name of the axis."""

PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
"""Properties of a text that strangers wrote: `$` and `\\` are signs like others."""

STAMPS = {
    ".png": (b"Software\0featx", {"Software": "featx"}),
    ".svg": (b"<dc:title>featx</dc:title>", {"Creator": "featx", "Date": None}),
    ".pdf": (
        b"/Creator (featx)",
        {"Creator": "featx", "Producer": None, "CreationDate": None},
    ),
}
"""How a file says that featx wrote it, and the metadata that put it there, by suffix."""

STAMPED_BYTES = 1 << 16
"""Length of the beginning and of the end of a file, one of which holds the stamp."""

FONTS = (
    *("Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Noto Sans Hebrew"),
    *("Noto Sans Arabic", "Noto Sans Devanagari", "Segoe UI", "Arial Unicode MS"),
)
"""Fonts for signs that the font of the figure lacks; those that the machine has are used."""


def build_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes that were given, or build a figure with one, which pyplot knows nothing of.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        Axes to draw into.
    width, height : float
        Size of a new figure in inches.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    if ax is not None:
        return ax
    require("matplotlib", EXTRA)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def show_name(label: str) -> str:
    """Write the name of a class for a figure: one line, of limited length.

    A name in letters that run from right to left stays apart from what is written behind it.

    Parameters
    ----------
    label : str
        The name.
    """
    name = show_text(label, MAX_NAME)
    is_leftward = any(unicodedata.bidirectional(sign) in ("R", "AL") for sign in name)
    return f"{LEFT_TO_RIGHT}{name}{LEFT_TO_RIGHT}" if is_leftward else name


def write_names(texts: Sequence[Text], names: Sequence[str]) -> None:
    """Put names into texts of a figure, as they are: no mathematics, and fonts for their signs.

    Parameters
    ----------
    texts : sequence of matplotlib.text.Text
        Texts of a figure.
    names : sequence of str
        A name for each text.
    """
    from matplotlib import rcParams
    from matplotlib.font_manager import fontManager

    have = set(fontManager.get_font_names())
    family = [*rcParams["font.family"], *(name for name in FONTS if name in have)]
    for text, name in zip(texts, names, strict=True):
        text.set(text=name, fontfamily=family, **PLAIN)


def name_ticks(axis: Any, positions: Sequence[float], names: Sequence[str], **style: Any) -> None:
    """Put ticks with names on an axis.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The axis.
    positions : sequence of float
        Positions of the ticks.
    names : sequence of str
        Name of each tick.
    **style : object
        Further properties of the texts, such as their rotation.
    """
    axis.set_ticks(positions, names, **PLAIN, **style)
    write_names([tick.label1 for tick in axis.get_major_ticks()], names)


def add_legend(
    ax: Axes,
    handles: Sequence[Any],
    names: Sequence[str],
    *,
    is_beside: bool = False,
    enlarge: float = 1,
) -> None:
    """Add a legend below the axes and what stands below them, or beside the axes.

    A name may begin with an underscore, which matplotlib would leave out.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes.
    handles : sequence of object
        What the legend names.
    names : sequence of str
        Their names.
    is_beside : bool
        True for a legend on the right, of one column.
    enlarge : float
        Factor by which the signs of points are larger in the legend.
    """
    from matplotlib.transforms import ScaledTranslation

    below = ScaledTranslation(0, 0 if is_beside else -BELOW_INCHES, ax.figure.dpi_scale_trans)
    legend = ax.legend(
        handles,
        ["name"] * len(handles),
        loc="upper left",
        bbox_to_anchor=(1, 1) if is_beside else (0, 0),
        bbox_transform=ax.transAxes + below,
        borderaxespad=0.3,
        ncols=1 if is_beside else 2,
        frameon=False,
        fontsize="small",
        markerscale=enlarge,
    )
    write_names(legend.get_texts(), names)


def set_title(ax: Axes, *lines: str) -> None:
    """Write a title of small lines over the left end of the axes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes.
    *lines : str
        Lines; empty ones are left out.
    """
    title = ax.set_title("", loc="left", fontsize="small")
    write_names([title], ["\n".join(filter(None, lines))])


def write_figure(ax: Axes | Sequence[Axes], path: PathLike) -> None:
    """Write the figure of axes as PNG, SVG or PDF for a paper, by the suffix of the file.

    A PNG has 300 dots per inch. Text stays text in an SVG and a PDF, whose fonts are embedded as
    TrueType. The same call gives the same bytes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or sequence of them
        Axes of the figure, such as `featx.plot_confusion` or `featx.plot_tuning` return them.
    path : path
        File to write: ``.png``, ``.svg`` or ``.pdf``. A figure of featx there is replaced.

    Raises
    ------
    FeatxError
        If the suffix is none of these, if the file cannot be written, or if a file that featx has
        not written is there.

    See Also
    --------
    featx.plot_confusion, featx.plot_calibration, featx.plot_classes : Figures of a head.
    featx.plot_map, featx.plot_learning_curve, featx.plot_tuning : Other figures.

    Examples
    --------
    >>> scores = featx.evaluate("head.joblib", "photos.h5")
    >>> featx.write_figure(featx.plot_confusion(scores), "confusion.pdf")
    """
    check_figure(path)
    path = Path(path)
    suffix = path.suffix.lower()
    with (
        replacing(path, error=FeatxError, overwrite=True) as draft,
        draft.open("wb") as stream,
        _FILE_SETTINGS,
        ignore_warnings(UserWarning, "Glyph "),  # a sign without a font is drawn as a box
    ):
        first: Any = ax if hasattr(ax, "get_figure") else ax[0]
        figure = first.get_figure(root=True)
        figure.savefig(stream, format=suffix[1:], dpi=DPI, metadata=STAMPS[suffix][1])


def check_figure(path: PathLike) -> None:
    """Refuse a file that `write_figure` would not write, before anything is computed.

    Parameters
    ----------
    path : path
        Path of the figure.

    Raises
    ------
    FeatxError
        If the suffix is wrong, if the file cannot be written, or if a file that featx has not
        written is there.
    """
    path = Path(path)
    if path.suffix.lower() not in STAMPS:
        raise FeatxError(
            subject=str(path),
            expected=f"a file that ends in {', '.join(STAMPS)}",
            got=path.suffix or "none of these",
            remedy="Name the file figure.pdf for a paper, or figure.png for a page.",
        )
    check_replaceable(path, "a figure", _is_own)


def _is_own(path: Path) -> bool:
    """Return whether featx wrote a figure, or the file is empty."""
    with path.open("rb") as stream:
        start = stream.read(STAMPED_BYTES)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - STAMPED_BYTES))
        end = stream.read()
    stamp, _ = STAMPS[path.suffix.lower()]
    return not start or stamp in start or stamp in end


def _set_file_settings() -> Callable[[], object]:
    """Set how matplotlib writes files, which it reads from nowhere else; return what undoes it."""
    from matplotlib import rcParams

    wanted = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "featx"}
    before = {name: rcParams[name] for name in wanted}
    rcParams.update(wanted)
    return lambda: rcParams.update(before)


_FILE_SETTINGS = SharedBlock(_set_file_settings)

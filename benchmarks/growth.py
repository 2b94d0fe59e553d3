"""Measures the cost of each operation as the panel grows from 10^4 to 10^7 usage rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .fill import Size

# Operations of ``inside.questions`` that are plotted.
SHOWN = ("report", "user 30", "global 30", "global 365", "server 30", "series 30", "database")


def measure(
    filled: Callable[[str, Size], dict[str, str]],
    inside: Callable[..., dict[str, Any]],
    plot: Path,
    *,
    quick: bool,
) -> None:
    """Print and plot milliseconds by number of rows."""
    sizes = [Size(n) for n in ((7, 64, 640) if quick else (7, 64, 640, 6400))]
    found: dict[int, dict[str, float]] = {}
    print(
        "| usage rows |"
        + "|".join(f" {name} " for name in SHOWN)
        + "|\n|---" * 1
        + "|---" * len(SHOWN)
        + "|"
    )
    for size in sizes:
        environ = filled(f"growth{size.subscribers}", size)
        found[size.rows] = inside(environ, "questions")
        Path(environ["XPERT_TRAFFIC_DB_PATH"]).unlink()
        figures = "|".join(f" {found[size.rows][name] * 1000:.2f} ms " for name in SHOWN)
        print(f"| {size.rows:,} |{figures}|", flush=True)
    _draw(found, plot)


def _draw(found: dict[int, dict[str, float]], plot: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415  slow to import, and needed only here

    mpl.use("svg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name in SHOWN:
        axes.plot(
            list(found),
            [figures[name] * 1000 for figures in found.values()],
            marker="o",
            label=name,
        )
    axes.set(xscale="log", yscale="log", xlabel="usage rows", ylabel="milliseconds")
    axes.legend(ncols=2)
    axes.grid(alpha=0.3)
    figure.savefig(plot, metadata={"Date": None})

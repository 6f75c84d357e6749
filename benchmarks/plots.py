"""Plots as images."""

from __future__ import annotations

from pathlib import Path

from benchmarks.comparison import Plot

_COLOUR = "#1f7a66"


def drawn(plot: Plot, folder: Path) -> Path:
    """Draw a plot as a PNG in a folder."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure, all_axes = pyplot.subplots(
        1, len(plot.panels), figsize=(4.2 * len(plot.panels), 3.2), layout="constrained", squeeze=False
    )
    for axes, panel in zip(all_axes[0], plot.panels, strict=True):
        axes.plot(list(panel.line), list(panel.line.values()), marker="o", color=_COLOUR)
        axes.set_xscale("log")
        axes.set_xticks(list(panel.line))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=8)
        axes.set_ylim(bottom=0, top=panel.top or max(panel.line.values()) * 1.15)
        axes.set_xlabel(plot.x_label)
        axes.set_title(panel.y_label, fontsize=10)
        axes.grid(alpha=0.3)
    path = folder / f"{plot.name}.png"
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path

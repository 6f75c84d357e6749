"""What is compared, and how: in turn, again and again, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Target:
    """What a contender is to reach against the first one, as a ratio or a difference, whichever is compared."""

    side: Literal["at most", "at least"]
    limit: float

    def is_met(self, reached: float) -> bool:
        """Whether a figure is on the right side of the limit."""
        return reached <= self.limit if self.side == "at most" else reached >= self.limit


@dataclass(frozen=True)
class Panel:
    """A line over a plot's x: figures by x. ``top`` is where the y axis ends, if not where the line does."""

    y_label: str
    line: Mapping[float, float]
    top: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Panels side by side over one logarithmic x; ``name`` is the file's, without its ending."""

    name: str
    caption: str
    x_label: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Figures of several contenders, one a round in ``unit``; the others are held against the first one.

    ``by`` says whether as a ratio or as a difference; ``targets`` are by contender, ``notes`` are sentences;
    ``plots`` are drawn where the figures are saved.
    """

    title: str
    unit: str
    samples: Mapping[str, list[float]]
    by: Literal["ratio", "difference"]
    targets: Mapping[str, Target]
    notes: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()

    def figure(self, name: str) -> float:
        """Return the median of a contender's figures."""
        return median(self.samples[name])

    def reached(self, name: str) -> float:
        """Return the median, over the rounds, of a contender's ratio to the first one or its difference."""
        pairs = zip(self.samples[name], next(iter(self.samples.values())), strict=True)
        return median(own / first if self.by == "ratio" else own - first for own, first in pairs)


def in_turn(contenders: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Measure A B C A B C …; a round before the first, in which everything is still cold, does not count.

    Garbage is collected in between, so that nobody pays for what another has left.
    """
    for measure in contenders.values():
        measure()
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            gc.collect()
            samples[name].append(measure())
    return samples

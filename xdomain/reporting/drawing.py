"""Empty figures, their style, their axis of swept values and their legend."""

import functools
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # Takes a second to import, and only plots need it.
  from matplotlib.axes import Axes
  from matplotlib.axis import Axis
  from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.6, 2.7  # Inches; a legend adds to the height.
PANEL = 3.0, 2.1  # Inches of one of several panels.
LETTER = 0.06  # Inches of a letter, on average.
STYLE = {
  'font.size': 8,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.axisbelow': True,
  'axes.formatter.useoffset': False,
  'grid.color': '0.9',
  'lines.markersize': 4,
  'legend.columnspacing': 1.2,
  'legend.frameon': False,
  'svg.hashsalt': 'xdomain',  # Otherwise names within the file are random.
}


class MissingMatplotlib(ImportError):
  """Plots need matplotlib, which is an extra."""

  def __init__(self):
    super().__init__('no plot: matplotlib is not installed; run pip install matplotlib')


def styled(draw: Callable):
  """A drawing function that ignores the user's own matplotlib settings."""

  @functools.wraps(draw)
  def in_style(*args, **kwargs):
    try:
      import matplotlib.style
    except ImportError:
      raise MissingMatplotlib from None
    with matplotlib.style.context(('default', STYLE)):
      return draw(*args, **kwargs)

  return in_style


def empty(x_label: str, y_label: str, width: float = WIDTH, height: float = HEIGHT):
  """A figure without any drawing, and its axes; long labels are wrapped."""
  figure, (axes,) = panels(x_label, [y_label], width, height)
  return figure, axes


def panels(
  x_label: str,
  y_labels: Sequence[str],
  width: float = PANEL[0],
  height: float = PANEL[1],
) -> 'tuple[Figure, list[Axes]]':
  """A figure with one panel for each label, two side by side, and their axes."""
  from matplotlib.figure import Figure

  columns = min(2, len(y_labels))
  lines = -(-len(y_labels) // columns)
  figure = Figure((columns * width, lines * height), layout='constrained')
  every = list(figure.subplots(lines, columns, squeeze=False).flat)
  for unused in every[len(y_labels) :]:
    unused.remove()
  for axes, y_label in zip(every, y_labels):
    axes.set_xlabel(textwrap.fill(x_label, int((width - 0.8) / LETTER)))
    axes.set_ylabel(textwrap.fill(y_label, int((height - 0.6) / LETTER)))
  return figure, every[: len(y_labels)]


def beside(
  x_labels: Sequence[str], methods: Sequence[str]
) -> 'tuple[Figure, list[Axes]]':
  """A figure with a panel for each label, which share a line for each method.

  Args:
    x_labels: of the panels.
    methods: from the top to the bottom.
  """
  from matplotlib.figure import Figure

  names = [textwrap.fill(method, 26) for method in methods]
  letters = max(len(line) for name in names for line in name.splitlines())
  lines = sum(1 + 0.6 * name.count('\n') for name in names)
  size = 0.3 + LETTER * letters + 2.2 * len(x_labels), 0.6 + 0.17 * lines
  figure = Figure(size, layout='constrained')
  every = list(figure.subplots(1, len(x_labels), sharey=True, squeeze=False).flat)
  every[0].set_yticks(range(len(names)), names)
  every[0].set_ylim(len(names) - 0.5, -0.5)
  for axes, label in zip(every, x_labels):
    axes.set_xlabel(label)
    axes.locator_params(axis='x', nbins=4)  # Labels of more digits would touch.
    axes.grid(axis='both')
    axes.tick_params(axis='y', length=0)
  return figure, every


def finite(values: Any) -> np.ndarray:
  """Floats with NaN in place of None and infinity."""
  values = np.array(values, float)
  return np.where(np.isfinite(values), values, np.nan)


def swept(axes: 'Axes', xs: Iterable[float | str], room: float) -> dict:
  """The place of each x; the axis gets a scale and a tick at each.

  Args:
    axes: to be labelled.
    xs: the different values.
    room: inches for the labels of the ticks.
  """
  xs = list(xs)
  numbers = [x for x in xs if not isinstance(x, str)]
  if len(numbers) < len(xs):
    names(axes.xaxis, xs, room)
    return {x: i for i, x in enumerate(xs)}
  xs = numbers
  least = min((x for x in xs if x > 0), default=1)
  wide = min(xs) >= 0 and max(xs) >= 30 * least
  if wide and min(xs) > 0:
    axes.set_xscale('log')
  elif wide:
    axes.set_xscale('symlog', linthresh=least, linscale=0.5)
  ticks = np.sort(np.array(xs, float))
  axes.set_xticks(ticks, _apart(axes.xaxis.get_transform(), ticks, room))
  axes.set_xticks([], minor=True)
  return {x: x for x in xs}


def _apart(scale, ticks, room):
  """Labels of the ticks, empty for each that would overlap the one before."""
  at = scale.transform(ticks)
  at = (at - at[0]) * room / (np.ptp(at) or 1)
  labels, end = [], -np.inf
  for x, label in zip(at, map('{:g}'.format, ticks)):
    half = (len(label) + 1) * LETTER / 2
    labels.append(label if x - half >= end else '')
    end = x + half if labels[-1] else end
  return labels


def names(axis: 'Axis', values: Iterable[float | str], room: float) -> None:
  """Adds a tick for each value; labels slope where they do not fit side by side."""
  labels = [x if isinstance(x, str) else f'{x:g}' for x in values]
  slope: Any = dict(rotation=30, ha='right', rotation_mode='anchor')
  fits = max(map(len, labels)) * len(labels) * LETTER <= room
  axis.set_ticks(range(len(labels)), labels, **{} if fits else slope)


def with_legend(figure: 'Figure', panels: 'Sequence[Axes]') -> 'Figure':
  """The figure with one legend below its panels, in as few rows as fit."""
  from matplotlib.textpath import TextPath

  handles = {}
  for axes in panels:
    axes.grid(axis='y')
    for handle, label in zip(*axes.get_legend_handles_labels()):
      handles.setdefault(label, handle)
  labels = list(handles)
  width, height = figure.get_size_inches()
  paths = [TextPath((0, 0), label, STYLE['font.size']) for label in labels]
  long = [path.get_extents().width / 72 + 0.5 for path in paths]
  rows = 1
  while rows < len(long) and width < sum(
    max(long[i : i + rows]) for i in range(0, len(long), rows)
  ):
    rows += 1
  columns = -(-len(labels) // rows)
  legend: Any = dict(loc='outside lower center', ncols=columns)
  figure.legend(list(handles.values()), labels, **legend)
  figure.set_size_inches(width, height + 0.17 * rows)
  return figure

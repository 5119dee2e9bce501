"""An empty figure, its style, its axis of what was swept and its legend."""

import functools
import textwrap

import numpy as np

WIDTH, HEIGHT = 4.6, 2.7  # Inches; a legend comes on top of the height.
LETTER = 0.06  # Inches that a letter takes on average.
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
  'svg.hashsalt': 'xdomain',  # Else the names within a file are random.
}


def styled(draw):
  """Draws in one style, whatever the settings of the user are."""

  @functools.wraps(draw)
  def in_style(*args, **kwargs):
    import matplotlib.style

    with matplotlib.style.context(('default', STYLE)):
      return draw(*args, **kwargs)

  return in_style


def empty(x_label, y_label, width=WIDTH, height=HEIGHT):
  """A figure without anything drawn, and its axes; long labels are wrapped."""
  from matplotlib.figure import Figure

  figure = Figure((width, height), layout='constrained')
  axes = figure.subplots()
  axes.set_xlabel(textwrap.fill(x_label, int((width - 0.8) / LETTER)))
  axes.set_ylabel(textwrap.fill(y_label, int((height - 0.6) / LETTER)))
  return figure, axes


def finite(values):
  """As numbers, with NaN for what is None or infinite."""
  values = np.array(values, float)
  return np.where(np.isfinite(values), values, np.nan)


def swept(axes, xs):
  """Where each x is; the axis gets a scale, and a tick at each."""
  if any(isinstance(x, str) for x in xs):
    names(axes.xaxis, xs, WIDTH - 1)
    return {x: i for i, x in enumerate(xs)}
  least = min((x for x in xs if x > 0), default=1)
  wide = min(xs) >= 0 and max(xs) >= 30 * least
  if wide and min(xs) > 0:
    axes.set_xscale('log')
  elif wide:
    axes.set_xscale('symlog', linthresh=least, linscale=0.5)
  ticks = np.sort(np.array([*xs], float))
  axes.set_xticks(ticks, _apart(axes.xaxis.get_transform(), ticks))
  axes.set_xticks([], minor=True)
  return {x: x for x in xs}


def _apart(scale, ticks):
  """Labels of the ticks, but none that would run into the one before."""
  at = scale.transform(ticks)
  at = (at - at[0]) * (WIDTH - 1) / (np.ptp(at) or 1)
  labels, end = [], -np.inf
  for x, label in zip(at, map('{:g}'.format, ticks)):
    half = (len(label) + 1) * LETTER / 2
    labels.append(label if x - half >= end else '')
    end = x + half if labels[-1] else end
  return labels


def names(axis, values, room):
  """A tick for each value; they slope where there is no room side by side."""
  labels = [x if isinstance(x, str) else f'{x:g}' for x in values]
  slope = dict(rotation=30, ha='right', rotation_mode='anchor')
  fits = max(map(len, labels)) * len(labels) * LETTER <= room
  axis.set_ticks(range(len(labels)), labels, **{} if fits else slope)


def with_legend(figure, axes):
  """A legend below the axes, in as few rows as there is room for."""
  from matplotlib.textpath import TextPath

  axes.grid(axis='y')
  handles, labels = axes.get_legend_handles_labels()
  width, height = figure.get_size_inches()
  paths = [TextPath((0, 0), label, STYLE['font.size']) for label in labels]
  long = [path.get_extents().width / 72 + 0.5 for path in paths]
  rows = 1
  while rows < len(long) and width < sum(
    max(long[i : i + rows]) for i in range(0, len(long), rows)
  ):
    rows += 1
  columns = -(-len(labels) // rows)
  figure.legend(handles, labels, loc='outside lower center', ncols=columns)
  figure.set_size_inches(width, height + 0.17 * rows)
  return figure

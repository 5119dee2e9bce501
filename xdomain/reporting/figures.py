"""Curves, heat maps and bars with intervals, at the width of a paper's column."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xdomain import files
from xdomain.reporting import drawing

if TYPE_CHECKING:  # Takes a second to import, and only plots need it.
  from matplotlib.figure import Figure

# Okabe and Ito (2008): distinct for readers with any form of colour blindness.
COLORS = '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9'
MARKERS = 'os^DvPX*<>ph'


class Point(NamedTuple):
  """A mean and its interval, where there is one."""

  x: float | str
  mean: float
  low: float | None = None
  high: float | None = None


@drawing.styled
def curves(
  panels: Mapping[str, Mapping[str, Sequence[Point]]], *, x_label: str
) -> 'Figure':
  """Lines with their bands, in a panel for each label of a y axis.

  Values of x that span a factor of 30 are on a logarithmic scale; it is linear
  between 0 and the least of the others if 0 is among them. A failed point is a
  cross at the bottom.

  Args:
    panels: by label of the y axis, the points of each line by its name.
    x_label: of all panels.
  """
  every = [line for lines in panels.values() for line in lines.items()]
  xs = dict.fromkeys(point.x for _, points in every for point in points)
  if not xs:
    raise ValueError('there is nothing to draw: no line has a point')
  names = list(dict.fromkeys(name for name, _ in every))
  size = drawing.PANEL if len(panels) > 1 else (drawing.WIDTH, drawing.HEIGHT)
  figure, several = drawing.panels(x_label, [*panels], *size)
  for axes, lines in zip(several, panels.values()):
    place = drawing.swept(axes, xs, size[0] - 1)
    for name, points in lines.items():
      at = drawing.finite([(place[p.x], *p[1:]) for p in points]).reshape(-1, 4)
      _line(axes, names.index(name), name, *at[at[:, 0].argsort()].T)
  return drawing.with_legend(figure, several)


def _line(axes, i, name, x, mean, low, high):
  color, dashes = COLORS[i % 6], ('-', '--', ':')[i // 6 % 3]
  axes.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
  axes.plot(x, mean, dashes, color=color, marker=MARKERS[i % 12], label=name)
  if np.isnan(mean).any():
    failed = x[np.isnan(mean)]
    below = dict(transform=axes.get_xaxis_transform(), label=f'{name} failed')
    axes.plot(failed, 0 * failed + 0.03 * (i + 1), 'x', color=color, **below)


@drawing.styled
def heat_map(
  x_values: Sequence[float | str],
  y_values: Sequence[float | str],
  means: npt.ArrayLike,
  *,
  x_label: str,
  y_label: str,
  value_label: str,
  lower_is_better: bool = False,
) -> 'Figure':
  """Cells of `[y, x]` means; the best is outlined, NaN reads 'failed'."""
  means, shape = drawing.finite(means), (len(y_values), len(x_values))
  if means.shape != shape or np.isnan(means).all():
    raise ValueError(
      f'there is nothing to draw: got {np.isfinite(means).sum()} finite means of'
      f' shape {means.shape}, and need at least one of shape {shape} (y, x)'
    )
  width = max(drawing.WIDTH, 1.6 + shape[1] / 2)
  height = max(drawing.HEIGHT, 1 + shape[0] / 4)
  figure, axes = drawing.empty(x_label, y_label, width, height)
  colors = 'cividis_r' if lower_is_better else 'cividis'
  image = axes.imshow(means, origin='lower', aspect='auto', cmap=colors)
  figure.colorbar(image, label=value_label)
  drawing.names(axes.xaxis, x_values, width - 1.6)
  drawing.names(axes.yaxis, y_values, np.inf)
  _cells(axes, image, means)
  best = (np.nanargmin if lower_is_better else np.nanargmax)(means)
  outline = dict(fill=False, ec=COLORS[1], lw=2, clip_on=False)
  _cell(axes, *np.unravel_index(best, shape), **outline)
  return figure


def _cells(axes, image, means):
  """Writes the number of each cell, in a colour that stands out."""
  span = np.nanmax(means) - np.nanmin(means) or 1
  digits = int(np.clip(2 - np.floor(np.log10(span)), 0, 4))
  for (row, column), mean in np.ndenumerate(means):
    light = np.dot(image.to_rgba(mean)[:3], (0.3, 0.6, 0.1)) > 0.5
    text, color = f'{mean:.{digits}f}', 'k' if light or np.isnan(mean) else 'w'
    if np.isnan(mean):
      text = 'failed'
      _cell(axes, row, column, fc='0.92', ec='0.8', hatch='////', lw=0)
    axes.text(column, row, text, color=color, ha='center', va='center')


def _cell(axes, row, column, **style):
  from matplotlib.patches import Rectangle

  axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))


@drawing.styled
def bars(
  groups: dict[str, dict[str, Point]],
  *,
  y_label: str,
  reference: dict[str, dict[str, float]] | None = None,
) -> 'Figure':
  """A bar and its interval for each method, side by side in each group.

  Args:
    groups: by name, the point of each method that the group has; x is ignored.
    y_label: of the axis.
    reference: a paper's values by group and method, drawn as diamonds.
  """
  methods = dict.fromkeys(m for group in groups.values() for m in group)
  if not methods:
    raise ValueError('there is nothing to draw: no group has a method')
  wide, middle = 0.84 / len(methods), (len(methods) - 1) / 2
  place = {
    (group, method): g + wide * (m - middle)
    for g, group in enumerate(groups)
    for m, method in enumerate(methods)
  }
  figure, axes = drawing.empty('', y_label)
  drawing.names(axes.xaxis, groups, drawing.WIDTH - 1)
  axes.set_xlim(-0.5, len(groups) - 0.5)
  for i, m in enumerate(methods):
    at = [(place[g, m], *row[m][1:]) for g, row in groups.items() if m in row]
    _bars(axes, i, m, wide, *drawing.finite(at).T)
  of_paper = drawing.finite(
    [(reference or {}).get(group, {}).get(method) for group, method in place]
  )
  if np.isfinite(of_paper).any():
    hollow: Any = dict(marker='D', color='k', mfc='w', ms=3.5, mew=0.8, zorder=4)
    axes.plot([*place.values()], of_paper, ls='', label='paper', **hollow)
  points = [p[1:] for group in groups.values() for p in group.values()]
  _from_zero(axes, np.append(drawing.finite(points), of_paper))
  return drawing.with_legend(figure, [axes])


def _bars(axes, i, method, wide, x, mean, low, high):
  style = dict(color=COLORS[i % 6], hatch=('', '/////', 'xxxxx')[i // 6 % 3])
  axes.bar(x, mean, wide, label=method, ec='white', lw=0.5, **style)
  style = dict(fmt='none', ecolor='0.2', elinewidth=0.8, capsize=1.5)
  axes.errorbar(x, (low + high) / 2, (high - low) / 2, **style)
  for failed in x[np.isnan(mean)]:
    style = dict(rotation=90, ha='center', va='bottom')
    transform = axes.get_xaxis_transform()
    axes.text(failed, 0.02, 'failed', transform=transform, **style)


@drawing.styled
def ranked(
  panels: Mapping[str, Mapping[str, Point]],
  *,
  reference: Mapping[str, Mapping[str, float]] | None = None,
) -> 'Figure':
  """A line for each method with its means and intervals, the best at the top.

  Args:
    panels: by label of the x axis, the point of each method; x is ignored. The first
      orders the methods: higher means are better, and those without a mean come last.
    reference: a paper's values by panel and method, drawn as diamonds.
  """
  methods = dict.fromkeys(m for panel in panels.values() for m in panel)
  if not methods:
    raise ValueError('there is nothing to draw: no panel has a method')
  first = next(iter(panels.values()))
  means = {m: first[m].mean if m in first else None for m in methods}
  order = sorted(
    methods, key=lambda m: -np.nan_to_num(drawing.finite(means[m]), nan=-1)
  )
  figure, several = drawing.beside([*panels], order)
  for axes, (label, panel) in zip(several, panels.items()):
    for y, method in enumerate(order):
      if method in panel:
        _range(axes, y, *drawing.finite(panel[method][1:]), best=not y)
      of_paper = (reference or {}).get(label, {}).get(method)
      if of_paper is not None:
        axes.plot(of_paper, y, 'D', color='k', mfc='w', ms=3.5, mew=0.8)
    axes.set_xlim(*_span(panel.values(), (reference or {}).get(label, {}).values()))
  if any((reference or {}).values()):
    several[0].plot([], [], 'D', color='k', mfc='w', ms=3.5, mew=0.8, label='paper')
    drawing.with_legend(figure, several)
  return figure


def _range(axes, y, mean, low, high, *, best):
  color = COLORS[1] if best else COLORS[0]
  if np.isnan(mean):
    axes.text(0.02, y, 'failed', transform=axes.get_yaxis_transform(), va='center')
  else:
    axes.plot([low, high], [y, y], color=color, lw=1.2)
    axes.plot(mean, y, 'o', color=color)


def _span(points, others):
  """The limits of an axis that starts at 0, where that leaves room for the points."""
  values = drawing.finite([x for p in points for x in p[1:]] + list(others))
  low, high = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=0)
  margin = 0.06 * max(high - low, 0.1 * high, 1e-9)
  return (0 if low < 0.5 * high else low - margin), high + margin


def _from_zero(axes, values):
  """Starts the axis at 0, or marks that it starts higher where values are close."""
  low, high = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=0)
  if 0 < high - low < 0.3 * low:
    axes.set_ylim(low - (high - low) / 4, high + (high - low) / 10)
    axes.set_ylabel(axes.get_ylabel() + '\n(axis does not start at 0)')


@drawing.styled
def save(figure: 'Figure', path: str | pathlib.Path) -> list[pathlib.Path]:
  """Writes `path`.png and `path`.svg; a figure always gives the same bytes."""
  figure.draw_without_rendering()
  figure.set_layout_engine('none')  # Each drawing would move it by a hair.
  written = []
  for suffix, metadata in ('png', {'Software': None}), ('svg', {'Date': None}):
    file = io.BytesIO()
    figure.savefig(file, format=suffix, dpi=150, metadata=metadata)
    written.append(pathlib.Path(f'{path}.{suffix}'))
    files.write(written[-1], file.getvalue())
  return written

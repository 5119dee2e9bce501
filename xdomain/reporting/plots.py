"""Chooses the figure of a table or a sweep."""

import collections
import math
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from xdomain.reporting import drawing, figures, grids, table_config, tables
from xdomain.reporting import records as records_lib

if TYPE_CHECKING:  # Figures take a second to import, and only plots need them.
  from matplotlib.figure import Figure

# Measures of a table of rankings that its figure shows, the one that decides first.
SHOWN = 'full ndcg@10', 'sampled ndcg@10'
DECIDING = frozenset(SHOWN)
ByPlace = dict[tuple, list[dict]]  # Records, one a seed, by their swept values.


def save(
  draw: Callable[[], 'Figure'], folder: pathlib.Path, say: Callable[[str], None]
) -> None:
  """Writes `plot.png` and `plot.svg`, or prints why there are none."""
  try:
    figures.save(draw(), folder / 'plot')
  except drawing.MissingMatplotlib as error:
    say(str(error))


# --- Tables -----------------------------------------------------------------


def of_table(config: table_config.Table, grid: grids.Grid) -> 'Figure':
  """Curves over an axis, rankings by full NDCG@10, bars of the first measure."""
  if config.x_label:
    return _curves(config, grid)
  if (
    len(config.columns) == 1
    and len(grid.rows) > 1
    and not DECIDING.isdisjoint(column.measure for column in grid.columns)
  ):
    return _ranked(grid)
  sampled = [c for c in grid.columns if 'full ' not in c.name] or grid.columns
  at_10 = [c for c in sampled if c.name.endswith('@10')]
  first = records_lib.title(config.measures[0])  # Others differ in scale.
  points, reference = {}, {}
  for column in at_10 or [c for c in sampled if c.name.endswith(first)]:
    for row in grid.rows:
      cell = grid.cells[row, column.name]
      if cell.estimate:
        points.setdefault(column.name, {})[row] = point_of(column.name, cell.estimate)
      if cell.paper is not None:
        reference.setdefault(column.name, {})[row] = cell.paper
  y_label = '' if at_10 else first
  return figures.bars(points, y_label=y_label, reference=reference or None)


def _ranked(grid):
  """The methods in the order of full NDCG@10, or of NDCG@10 among sampled items."""
  shown = {column.measure: column.name for column in grid.columns}
  panels, reference = {}, {}
  for measure in SHOWN:
    if measure not in shown:
      continue
    title = records_lib.title(measure)
    if 'sampled' in measure:
      title += ' among sampled items'
    for row in grid.rows:
      cell = grid.cells[row, shown[measure]]
      if cell.estimate:
        panels.setdefault(title, {})[row] = point_of('', cell.estimate)
      if cell.paper is not None:
        reference.setdefault(title, {})[row] = cell.paper
  return figures.ranked(panels, reference=reference)


def _curves(config, grid):
  """A panel for each measure, since measures differ in scale."""
  several = len(config.measures) > 1
  panels = {}
  for column in grid.columns:
    title = records_lib.title(column.measure)
    name = column.name.removesuffix(title).strip() if several else column.name
    lines = panels.setdefault(title, {})
    for row in grid.rows:
      estimate = grid.cells[row, column.name].estimate
      if estimate:
        points = lines.setdefault(name or config.rows[0], [])
        points.append(point_of(config.on[row]['x'], estimate))
  return figures.curves(panels, x_label=config.x_label)


def point_of(x: float | str, estimate: tables.Estimate) -> figures.Point:
  return figures.Point(x, estimate.mean, estimate.low, estimate.high)


# --- Sweeps -----------------------------------------------------------------


def of_sweep(by_place: ByPlace, names: list[str]) -> 'Figure':
  """Curves or bars of one swept value, a heat map of two.

  Raises:
    ValueError: more than two, or none, are swept.
  """
  if len(names) not in (1, 2):
    raise ValueError(f'a plot shows one or two swept values, not {len(names)}')
  draw = _sweep_curves if len(names) == 1 else _sweep_heat_map
  return draw(by_place, *names)


def _swept_measure(records, path):
  """The mean of a measure or of the validation value; NaN after a failed run."""
  if any(records_lib.loss(record) == math.inf for record in records):
    return tables.Estimate(math.nan)
  if path == 'valid':
    valid = records_lib.task_of(records[0]).valid
    return tables.estimate(record[valid] for record in records)
  return tables.of_records(records, path)


def _sweep_curves(by_place: ByPlace, name: str) -> 'Figure':
  """Test and validation by one swept value: curves of numbers, bars of others."""
  first = next(iter(by_place.values()))[0]
  task = records_lib.task_of(first)
  panels = collections.defaultdict(lambda: collections.defaultdict(list))
  for (x,), records in by_place.items():
    for measure in task.measures[: 2 if task is records_lib.RANKING else 1]:
      estimate = _swept_measure(records, measure)
      panels[records_lib.title(measure)]['test'].append(point_of(x, estimate))
    estimate = _swept_measure(records, 'valid')
    title = records_lib.title(task.measures[0])
    panels[title]['validation'].append(point_of(x, estimate))
  if all(isinstance(x, int | float) for (x,) in by_place):
    return figures.curves(panels, x_label=name)
  return figures.bars(
    {
      f'{line} {title}': {text_of(point.x): point for point in points}
      for title, lines in panels.items()
      for line, points in lines.items()
    },
    y_label=name,
  )


def _sweep_heat_map(by_place: ByPlace, x_label: str, y_label: str) -> 'Figure':
  """The validation value, by which a setting is chosen, over two swept values."""
  x_values, y_values = (list(dict.fromkeys(axis)) for axis in zip(*by_place))
  task = records_lib.task_of(next(iter(by_place.values()))[0])
  means = [
    [
      _swept_measure(by_place[x, y], 'valid').mean if (x, y) in by_place else None
      for x in x_values
    ]
    for y in y_values
  ]
  return figures.heat_map(
    [*map(text_of, x_values)],
    [*map(text_of, y_values)],
    np.array(means, float),
    x_label=x_label,
    y_label=y_label,
    value_label=f'validation {records_lib.title(task.measures[0])}',
    lower_is_better=task is records_lib.RATING,
  )


def text_of(value: object) -> str:
  """A swept value as labels show it."""
  return f'{value:g}' if isinstance(value, int | float) else str(value)

"""Counters and histograms in Prometheus's text format."""

import bisect
import collections
from collections.abc import Iterator, Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SIZES = (1, 2, 4, 8, 16, 32, 64)

Labels = tuple[tuple[str, str], ...]


class Counter:
  """Numbers that rise, by their labels."""

  def __init__(self, name: str, text: str):
    self.name, self.text = name, text
    self.values: collections.Counter[Labels] = collections.Counter()

  def add(self, **labels: str) -> None:
    """Counts one more."""
    self.values[tuple(labels.items())] += 1

  def lines(self) -> Iterator[str]:
    """The lines of a scrape."""
    yield f'# HELP {self.name} {self.text}'
    yield f'# TYPE {self.name} counter'
    for labels, value in self.values.items():
      yield f'{self.name}{_braces(labels)} {value}'


class Histogram:
  """Counts of values below some bounds, by their labels."""

  def __init__(self, name: str, text: str, bounds: Sequence[float]):
    self.name, self.text, self.bounds = name, text, bounds
    self._counts: dict[Labels, list[int]] = {}
    self._sums: dict[Labels, float] = collections.defaultdict(float)

  def add(self, value: float, **labels: str) -> None:
    """Counts a value."""
    key = tuple(labels.items())
    counts = self._counts.setdefault(key, [0] * (len(self.bounds) + 1))
    counts[bisect.bisect_left(self.bounds, value)] += 1
    self._sums[key] += value

  def lines(self) -> Iterator[str]:
    """The lines of a scrape."""
    yield f'# HELP {self.name} {self.text}'
    yield f'# TYPE {self.name} histogram'
    for labels, counts in self._counts.items():
      total = 0
      for bound, count in zip((*self.bounds, '+Inf'), counts):
        total += count
        yield f'{self.name}_bucket{_braces((*labels, ("le", str(bound))))} {total}'
      yield f'{self.name}_sum{_braces(labels)} {self._sums[labels]:.9g}'
      yield f'{self.name}_count{_braces(labels)} {total}'


def _braces(labels):
  if not labels:
    return ''
  escaped = (
    (name, value.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n'))
    for name, value in labels
  )
  return '{' + ','.join(f'{name}="{value}"' for name, value in escaped) + '}'

"""Words for data on the host: tables, pairs and splits, as NumPy arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class PerDomain(NamedTuple):
  """One thing of a kind for each domain: arrays, numbers, trees or None."""

  source: Any
  target: Any


class DataError(ValueError):
  """A file, or what it holds, cannot be used; it says what would do."""


class Ratings(NamedTuple):
  """The events of one domain; ids are dense, `0..n-1`."""

  user: np.ndarray  # [E] int32
  item: np.ndarray  # [E] int32
  value: np.ndarray  # [E] float32
  time: np.ndarray  # [E] int64, or [0] where no time is known
  n_users: int
  n_items: int


class Table(NamedTuple):
  """One domain as it was read: ratings, and the raw ids behind the integers.

  A table holds each (user, item) at most once: readers keep the last rating by
  time, else by order, and count the others in `duplicates`.
  """

  ratings: Ratings
  users: Sequence[str]  # [n_users]
  items: Sequence[str]  # [n_items]
  origin: str  # the file or archive it came from, for messages
  duplicates: int = 0


class Pair(NamedTuple):
  """Two domains over the same people: user `u` is one person in both.

  SharedVAE takes several sources as well, as a tuple.
  """

  source: Ratings
  target: Ratings
  side: np.ndarray | None = None  # auxiliary user vectors: [U, A], or
  # [U, 2, A] where each domain has its own, the source's first


class Ids(NamedTuple):
  """The raw ids of a pair."""

  users: np.ndarray  # [U] str
  source: np.ndarray  # [S] str
  target: np.ndarray  # [T] str


class Dataset(NamedTuple):
  """A pair that is ready to be split, and how it came to be."""

  name: str
  pair: Pair
  ids: Ids
  scale: tuple[float, float]  # lowest and highest rating
  trail: tuple[tuple[str, dict[str, int]], ...]  # (step, counts after it)
  sources: tuple[str, ...] = ()  # where several domains are stacked in the
  # source: their names, which its raw ids begin with, as in 'films:tt0076759'


class HeldOut(NamedTuple):
  """Events of one domain that were taken out of training."""

  user: np.ndarray  # [Q] int32
  item: np.ndarray  # [Q] int32
  value: np.ndarray  # [Q] float32
  # [Q, N] items to rank it among, drawn under the split's seed; -1 where there
  # were not so many.
  negatives: np.ndarray | None = None


class Split(NamedTuple):
  """What to train on, to choose by and to test on.

  `shown` is what predictions may look at, where that is more than what was
  trained on: the rows of people who are new.
  """

  train: Pair
  valid: PerDomain  # of HeldOut; a source that is kept whole has None
  test: PerDomain  # of HeldOut
  shown: Pair | None = None

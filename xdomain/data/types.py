"""Words for data on the host: tables, pairs and splits, as NumPy arrays.

E interactions of a domain, U users, Q held-out interactions, N negatives of each, A
numbers of an auxiliary vector.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
  import polars as pl


class PerDomain(NamedTuple):
  """One thing of a kind for each domain: arrays, numbers, trees or None."""

  source: Any
  target: Any


class DataError(ValueError):
  """A file, or the data in it, cannot be used; the message names what to change.

  An option is written as an argument, `scale=(1.0, 10.0)`; a command writes its flag.
  """


_BLOCK = 1 << 16  # ids that are Python objects at a time


def texts(ids: Any) -> np.ndarray:
  """Raw ids as an array of strings of any length, each of which takes its own room."""
  if not hasattr(ids, 'to_list'):
    return np.array([str(each) for each in ids], np.dtypes.StringDType())
  made = np.empty(len(ids), np.dtypes.StringDType())
  for begin in range(0, len(ids), _BLOCK):
    made[begin : begin + _BLOCK] = ids[begin : begin + _BLOCK].to_list()
  return made


def series(ids: Any) -> 'pl.Series':
  """Raw ids, as `texts` makes them or in any sequence, as a polars Series."""
  import polars as pl

  if isinstance(ids, pl.Series):
    return ids
  if not isinstance(ids, np.ndarray):
    return pl.Series(list(ids), dtype=pl.String)
  blocks = [
    pl.Series(ids[begin : begin + _BLOCK].tolist(), dtype=pl.String)
    for begin in range(0, max(1, len(ids)), _BLOCK)
  ]
  return pl.concat(blocks, rechunk=True)


class Ratings(NamedTuple):
  """The interactions of one domain; ids are dense, `0..n-1`."""

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
  users: Any  # [n_users] of str: a polars Series from a reader, or a sequence
  items: Any  # [n_items] the same
  origin: str  # the file or archive it came from, for messages
  duplicates: int = 0


class Pair(NamedTuple):
  """Two domains over the same users: `u` is one user in both.

  For some methods the source may be a tuple of several.
  """

  source: Ratings
  target: Ratings
  side: np.ndarray | None = None  # auxiliary user vectors: [U, A], or
  # [U, 2, A] where each domain has its own, the source's first


class Ids(NamedTuple):
  """The raw ids of a pair."""

  users: np.ndarray  # [U] StringDType, as `texts` makes
  source: np.ndarray  # [S] the same
  target: np.ndarray  # [T] the same


class Dataset(NamedTuple):
  """A pair that is ready to be split, and the steps that led to it."""

  name: str
  pair: Pair
  ids: Ids
  scale: tuple[float, float]  # lowest and highest rating
  trail: tuple[tuple[str, dict[str, int]], ...]  # (step, counts after it)
  sources: tuple[str, ...] = ()  # where several domains are stacked in the source:
  # their names, which its raw ids begin with, as in 'films:tt0076759'
  folds: Any = None  # a Split, where the files of the pair make one
  features: np.ndarray | None = None  # [T, F] of the target's items, such as genres


@dataclasses.dataclass(frozen=True)
class Options:
  """The options that every kind of data has."""

  # Users of a random sample; 0 keeps all.
  most_users: int = dataclasses.field(default=0, kw_only=True)


class HeldOut(NamedTuple):
  """Interactions of one domain that were taken out of training."""

  user: np.ndarray  # [Q] int32
  item: np.ndarray  # [Q] int32
  value: np.ndarray  # [Q] float32
  # [Q, N] items to rank the held-out one among; -1 where there are fewer.
  negatives: np.ndarray | None = None


class How(NamedTuple):
  """The function, the seed and the options that made a split."""

  protocol: str  # the function of `splits`: 'rating', 'leave_one_out', ...
  seed: int
  options: dict[str, Any]  # the function's others
  # Held-out interactions to test that are left out: those of users not drawn.
  left_out: int = 0


class Split(NamedTuple):
  """The interactions to train on, to validate on and to test on.

  `shown` is what predictions may look at, where that is more than what was trained
  on: the rows of cold-start users.
  """

  train: Pair
  valid: PerDomain  # of HeldOut; a source that is kept whole has None
  test: PerDomain  # of HeldOut; a source that is kept whole has None
  shown: Pair | None = None
  dataset: Dataset | None = None  # that was split, if one was given
  how: How | None = None
  given: Dataset | None = None  # the same before positives were chosen

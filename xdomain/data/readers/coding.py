"""Raw ids, which come in blocks of rows -> a code for each row, and each id once.

A row is held as the 64-bit hash of its id; text is held once for each id.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
  import polars as pl

WAIT = 1 << 22  # ids that may wait before those that were seen before are dropped


class CollisionError(Exception):
  """Two ids have the same hash; those of another seed differ."""


class Codes(NamedTuple):
  """The ids of a column."""

  code: np.ndarray  # [E] uint32
  ids: 'pl.Series'  # [D] the id of each code, in any order


class Coder:
  """Collects the ids of a column, block by block."""

  def __init__(self, seed: int):
    self._seed = seed
    self._hashes: list[np.ndarray] = []
    self._guards = 0  # the sum of a second hash of all rows
    self._distinct: list[pl.DataFrame] = []  # The first holds no id twice.

  def add(self, ids: 'pl.Series') -> None:
    """Appends the ids of the next rows."""
    import polars as pl

    frame = pl.DataFrame(
      {
        'hash': ids.hash(seed=2 * self._seed),
        'guard': ids.hash(seed=2 * self._seed + 1),
        'id': ids,
      }
    )
    self._hashes.append(frame['hash'].to_numpy())
    self._guards += int(frame['guard'].to_numpy().sum())
    # A copy, since the ids of a few rows would keep the text of all in memory.
    copied = pl.concat_str(pl.col('id'), pl.lit(''))
    self._distinct.append(_distinct(frame).with_columns(copied))
    waiting = sum(frame.height for frame in self._distinct[1:])
    if waiting > max(WAIT, self._distinct[0].height):
      self._distinct = [_distinct(pl.concat(self._distinct))]

  def codes(self) -> Codes:
    """The codes of all rows; the coder is empty afterwards.

    Raises:
      CollisionError: as happens once in 300,000 files of 10 million ids.
    """
    import polars as pl

    distinct = _distinct(pl.concat(self._distinct))
    hashes = pl.DataFrame({'hash': np.concatenate(self._hashes)})
    self._hashes, self._distinct = [], []
    numbered = distinct.select('hash').with_row_index('code')
    joined = hashes.join(numbered, on='hash', how='left', maintain_order='left')
    code = joined['code'].to_numpy()
    # An id that another one has replaced has another guard.
    guards = int(distinct['guard'].to_numpy()[code].sum())
    if (guards - self._guards) % 2**64:
      raise CollisionError
    return Codes(code, distinct['id'])


def _distinct(frame):
  return frame.filter(frame['hash'].is_first_distinct())

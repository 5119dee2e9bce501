"""A trained method -> a folder with a portable program that recommends.

  about.json          format, versions, sizes, the programs and their arguments, hashes
  arrays.safetensors  parameters, ids, and the interactions of known users
  *.stablehlo         programs of `jax.export`, for each length of a user's rows
  portable.py         reads all this with jax and numpy alone
  README.md           how

The programs take padded rows of items in both domains, of any number of users, and
give the best items and their scores; parameters are arguments. A method that cannot
score users it was not trained on has programs that take its own users instead.
"""

import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

import xdomain
from xdomain import base, files, precision
from xdomain.evaluation import rankings
from xdomain.ops import sampling
from xdomain.runs import artifact, protocols, trained
from xdomain.serving import hoisting, portable

PLATFORMS = ('cpu', 'cuda', 'tpu')
LENGTHS = (16, 128, 1024)  # Slots of a user's rows, of a program each.


class User(NamedTuple):
  """A user's rows, `L` slots a domain; an item of -1 is padding."""

  source: base.Array  # [L] int32
  source_value: base.Array  # [L] float32
  target: base.Array  # [L] int32
  target_value: base.Array  # [L] float32


def save(
  folder: str | pathlib.Path,
  model: trained.Trained,
  *,
  top: int = 100,
  name: str | None = None,
  lengths: tuple[int, ...] = LENGTHS,
) -> dict[str, Any]:
  """Writes an export; one that the folder holds is replaced.

  Args:
    folder: written beside its place and renamed, so it is never incomplete.
    model: the trained method.
    top: the largest number of items of a recommendation.
    name: of the model in a service; by default the name of the run.
    lengths: the slots of a user's rows, of a program each; a longer one is added
      where users of the data have more interactions.

  Returns:
    The content of `about.json`.

  Raises:
    ArtifactError: the folder holds something else.
  """
  folder = pathlib.Path(folder)
  is_ours = (folder / portable.ABOUT).exists() and (folder / portable.ARRAYS).exists()
  if folder.exists() and not is_ours and (folder.is_file() or any(folder.iterdir())):
    raise artifact.ArtifactError(f'{folder} holds something else than an export')
  with files.replaced(folder) as beside:
    return _write(beside, model, top, name or model.spec.name, lengths)


def _write(folder, model, top, name, lengths):
  folds_in = model._model.fold_in is not None
  top = min(top, len(model.ids.target))
  history = _history(model)
  longest = max(
    int(np.diff(history[f'{name}/start']).max(initial=0)) for name in HISTORY
  )
  lengths = sorted({*lengths, sampling.round_up(max(longest, *lengths))})
  arrays, programs, platforms = {}, [], PLATFORMS
  for length in lengths:
    # Users that are known alone need slots for excluded items only, their program is
    # the same for all lengths.
    score, user = _by_rows(model, length) if folds_in else _by_user(model)
    with jax.enable_x64(False):
      hoisted = hoisting.hoist(score, _parameters(model), *user)
      names = _put(arrays, hoisted.values)
      for kind in ('best', 'scores'):
        columns = portable.columns(kind, length, top, folds_in)
        program = _program(kind, hoisted, model, top)
        exported = _exported(program, hoisted.values, columns, platforms)
        platforms = exported.platforms
        file = f'{kind}_{length}.stablehlo'
        (folder / file).write_bytes(exported.mlir_module_serialized)
        programs.append(
          {
            'kind': kind,
            'length': length,
            'file': file,
            'arrays': names,
            'kept': exported.module_kept_var_idx,
            'calling_convention': exported.calling_convention_version,
            'global_constants': exported.uses_global_constants,
          }
        )
  arrays |= history | _ids(model)
  portable.write_safetensors(folder / portable.ARRAYS, arrays)
  shutil.copy(portable.__file__, folder / 'portable.py')
  about = _about(model, name, folds_in, top, lengths, platforms, programs)
  written = [portable.ARRAYS, *(each['file'] for each in programs)]
  about['sha256'] = {file: portable.digest(folder / file) for file in written}
  about['version'] = hashlib.sha256(
    json.dumps(about['sha256'], sort_keys=True).encode()
  ).hexdigest()[:12]
  files.write_json(folder / portable.ABOUT, about)
  files.write(folder / 'README.md', _card(about))
  return about


# --- The score of one user --------------------------------------------------


def _parameters(model) -> dict[str, base.Array]:
  """All that a score may read, by name."""
  everything = model._everything
  side = {'data': everything, 'trained_on': model._trained_on}
  return _flat({'state': model.state, **side, 'hyper': model._hyper})


def _flat(tree):
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }


def _tree(model):
  """The trees that `_parameters` flattens."""
  like = {
    'state': model.state,
    'data': model._everything,
    'trained_on': model._trained_on,
    'hyper': model._hyper,
  }
  structure = jax.tree.structure(like)
  return lambda values: structure.unflatten(list(values.values()))


def _by_rows(model, length) -> tuple[Callable, tuple]:
  """The scores `[T]` of a user by the user's rows, and shapes of these."""
  unflatten = _tree(model)
  view = _view(model)

  def score(values, *user):
    tree = unflatten(values)
    new = view(User(*user), tree['data'])
    state = model._model.fold_in(tree['state'], tree['trained_on'], new, tree['hyper'])
    return _scores(model, state, new, tree['trained_on'], jnp.zeros(1, jnp.int32))

  items = jax.ShapeDtypeStruct((length,), jnp.int32)
  values = jax.ShapeDtypeStruct((length,), jnp.float32)
  return score, (items, values, items, values)


def _by_user(model) -> tuple[Callable, tuple]:
  """The scores `[T]` of a user of the data, and the shape of the user's place."""
  unflatten = _tree(model)

  def score(values, user):
    tree = unflatten(values)
    return _scores(model, tree['state'], tree['data'], tree['trained_on'], user[None])

  return score, (jax.ShapeDtypeStruct((), jnp.int32),)


@precision.full
def _scores(model, state, data, trained_on, users):
  """`[T]` scores of one user, with the fallback of ratings."""
  method, n_items = model._model, len(model.ids.target)
  scores = rankings.all_scores(
    method.predict, method.predict_all, n_items, state, data
  )(users)
  if protocols.of(model.spec).rates:
    facing = trained_on
    if method.fold_in is not None:
      target = trained_on.target._replace(by_user=data.target.by_user)
      facing = trained_on._replace(target=target)
    items = jnp.arange(n_items)[None]
    sure = method.trained(facing, users[:, None], items)
    scores = jnp.where(sure, scores, trained_on.target.by_item.mean())
  return scores[0]


def _view(model) -> Callable[[User, base.Arrays], base.Arrays]:
  """The method's view of one new user, beside the data by item."""
  view, n_target = model.spec.view, len(model.ids.target)

  def of(user: User, data: base.Arrays) -> base.Arrays:
    source = user.source, user.source_value
    target = user.target, user.target_value
    if view == 'merged':
      shifted = jnp.where(user.source < 0, -1, user.source + n_target)
      both = jnp.append(user.target, shifted)
      target = both, jnp.append(user.target_value, user.source_value)
    if view in ('merged', 'alone'):
      source = jnp.full_like(user.source, -1), user.source_value
    if view == 'apart':
      parts = [_part(model, source, name) for name in model.dataset.sources]
    else:
      parts = [source]
    rows = [
      domain._replace(by_user=_rows(*part, domain.by_user.n_columns))
      for part, domain in zip(parts, data.sources, strict=True)
    ]
    of_target = data.target.by_user
    by_user = _rows(*target, of_target.n_columns, of_target.border)
    whole = rows[0] if isinstance(data.source, base.Domain) else tuple(rows)
    return base.Arrays(whole, data.target._replace(by_user=by_user))

  return of


def _part(model, source, name):
  """The items of one of several sources, numbered within it."""
  mine = np.array([str(item).split(':', 1)[0] == name for item in model.ids.source])
  place = jnp.asarray(np.where(mine, np.cumsum(mine) - 1, -1), jnp.int32)
  item, value = source
  return jnp.where(item < 0, -1, place[item]), value


def _rows(item, value, n_columns, border=0):
  """One user's `[L]` items as a sparse matrix of one row, padding at its end."""
  key = jnp.where(item < 0, n_columns, item)
  key, value = jax.lax.sort((key, value), num_keys=1)
  there = key < n_columns
  length = jnp.sum(there, dtype=jnp.int32)
  return base.Rows(
    start=jnp.stack([jnp.zeros_like(length), length]),
    row=jnp.where(there, 0, 1),
    column=jnp.where(there, key, 0),
    value=jnp.where(there, value, 0),
    order=jnp.zeros(1, jnp.int32),
    n_columns=n_columns,
    longest=sampling.round_up(item.shape[0]),
    border=border,
  )


# --- Programs ---------------------------------------------------------------


def _program(kind, hoisted, model, top) -> Callable:
  """`(values, *user, last)` of a batch: the best items, or the scores of some."""
  rates, scale = protocols.of(model.spec).rates, model.dataset.scale

  def scored(values, user):
    own = len(user) * (0,)
    values = dict(zip(hoisted.values, values))
    return jax.vmap(hoisted.rest, in_axes=(None, *own))(values, *user)  # [B, T]

  def best(values, *user_and_excluded):
    *user, excluded = user_and_excluded  # [B, L]
    scores = scored(values, user)
    rows = jnp.arange(scores.shape[0])[:, None]
    places = jnp.where(excluded < 0, scores.shape[1], excluded)
    scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    scores = scores.at[rows, places].set(-jnp.inf, mode='drop')
    scores, items = jax.lax.top_k(scores, top)
    shown = jnp.where(scores > -jnp.inf, jnp.clip(scores, *scale), scores)
    return items, shown if rates else scores

  def of_items(values, *user_and_items):
    *user, items = user_and_items  # [B, top]
    return jnp.take_along_axis(scored(values, user), items, axis=1)

  return best if kind == 'best' else of_items


def _exported(program, values, columns, platforms) -> jax.export.Exported:
  """The program, lowered for all of some platforms, or for those that it can be."""
  shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in values.values()]

  def lowered(names):
    return jax.export.export(jax.jit(program), platforms=names)(shapes, *columns)

  try:
    return lowered(platforms)
  except Exception:  # Whatever a platform lacks, the others may have.
    able = [name for name in platforms if _can(lowered, name)]
    if not able:
      raise
    return lowered(able)


def _can(lowered, platform):
  try:
    return bool(lowered([platform]).platforms)
  except Exception:
    return False


def _put(arrays, values) -> list[str]:
  """Adds arrays to those of other programs, each content once; returns their names."""
  known = {_content(array): name for name, array in arrays.items()}
  names = []
  for name, value in values.items():
    array = np.asarray(value)
    key = _content(array)
    if key not in known:
      while f'parameters/{name}' in arrays:
        name += '_'
      known[key] = f'parameters/{name}'
      arrays[known[key]] = array
    names.append(known[key])
  return names


def _content(array):
  body = np.ascontiguousarray(array)
  return array.shape, str(array.dtype), hashlib.sha256(body.data).digest()


# --- Beside the programs ----------------------------------------------------

HISTORY = ('source', 'target', 'seen')


def _history(model) -> dict[str, np.ndarray]:
  """The interactions of known users by user, and how often each item occurs."""
  pair = model.dataset.pair
  arrays = {}
  for name, ratings in zip(HISTORY, (pair.source, pair.target, model.seen)):
    order = np.lexsort((ratings.item, ratings.user))
    counts = np.bincount(ratings.user, minlength=ratings.n_users)
    arrays[f'{name}/start'] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    arrays[f'{name}/item'] = ratings.item[order].astype(np.int32)
    arrays[f'{name}/value'] = ratings.value[order].astype(np.float32)
    if name != 'seen':
      count = np.bincount(ratings.item, minlength=ratings.n_items)
      arrays[f'count/{name}'] = count.astype(np.int32)
  return arrays


def _ids(model):
  arrays = {}
  for kind, names in zip(('users', 'source', 'target'), model.ids[:3]):
    arrays |= portable.Names.arrays(kind, [str(name) for name in names])
  return arrays


def _about(model, name, folds_in, top, lengths, platforms, programs):
  rates = protocols.of(model.spec).rates
  view = model.spec.view
  alone = view == 'alone' or (model._model.target_only and view != 'merged')
  return {
    'format': portable.FORMAT,
    'xdomain': xdomain.__version__,
    'jax': jax.__version__,
    'name': name,
    'method': model.spec.method,
    'view': view,
    'folds_in': folds_in,
    'reads': ['target'] if alone else ['source', 'target'],
    'rates': rates,
    'highest': float(model.dataset.scale[1]) if rates else 1.0,
    'top': top,
    'lengths': lengths,
    'platforms': list(platforms),
    'data': {
      'name': model.dataset.name,
      'users': len(model.ids.users),
      'source_items': len(model.ids.source),
      'target_items': len(model.ids.target),
    },
    'measures': json.loads(files.line(model.measures)),
    'programs': programs,
  }


def _card(about):
  data = about['data']
  ask = (
    "model.recommend_for(source=['...'], top=3)"
    if about['folds_in']
    else "model.recommend(['...'], top=3)"
  )
  return f"""# {about['name']}, exported

The method `{about['method']}` of xdomain {about['xdomain']}, trained on {data['name']}:
{data['users']:,} users, {data['source_items']:,} source and {data['target_items']:,}
target items. Runs on {', '.join(about['platforms'])} with jax and numpy alone.

```python
import portable

model = portable.load('.')
{ask}
```
"""

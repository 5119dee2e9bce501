"""Small pairs ready to train on, and the numbers of another implementation.

Test modules share through this file only: none imports another.
"""

import contextlib
import functools
import io
import json
import pathlib
import runpy
import sys
import warnings
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import xdomain as xd
from xdomain import base, files
from xdomain.data import device, splits, synthetic, types, views
from xdomain.evaluation import rankings, ratings
from xdomain.models import bias, fm_cdcf
from xdomain.training import loop


class Small(NamedTuple):
  split: types.Split
  sizes: base.Sizes
  data: base.Arrays
  valid: types.PerDomain
  test: types.PerDomain
  measure: ratings.RatingError | rankings.Unranked


@functools.cache
def small(seed=0, split=0, **sizes) -> Small:
  """A planted pair on the device: 60 users, 40 and 50 items by default."""
  dataset = synthetic.pair(seed, **sizes)
  rng = np.random.default_rng(seed)
  side = rng.normal(size=(dataset.pair.target.n_users, 4))
  split = splits.by_ratio(dataset.pair._replace(side=side), seed + split)
  return Small(
    split,
    device.sizes(split.train),
    device.put(split.train),
    types.PerDomain(*map(device.rating_queries, split.valid)),
    types.PerDomain(*map(device.rating_queries, split.test)),
    ratings.RatingError(dataset.scale),
  )


def jitted(function, **options):
  """The function as one program that returns NumPy arrays.

  Op by op, it and the arithmetic on its results would be hundreds of programs. It is
  traced anew, as a test may have patched a name that the function reads.
  """
  program = jax.jit(lambda *arguments: function(*arguments), **options)
  return lambda *arguments: jax.device_get(program(*arguments))


def scorer(predict):
  """The predictor whose scores are one program, as `jitted` makes it."""
  scores = jitted(lambda state, data, *queries: predict(state, data)(*queries))
  return lambda state, data: functools.partial(scores, state, data)


@functools.cache
def gaps() -> Small:
  """As `small`, with training data missing.

  Users 3 and 7 have no target ratings, user 4 none in the source; target item 5 and
  source item 6 have none.
  """
  pair = small()
  source, target = pair.split.train.source, pair.split.train.target
  source = views.take(source, (source.user != 4) & (source.item != 6))
  target = views.take(target, ~np.isin(target.user, [3, 7]) & (target.item != 5))
  train = pair.split.train._replace(source=source, target=target)
  return pair._replace(split=pair.split._replace(train=train), data=device.put(train))


@functools.cache
def implicit(seed=0, **sizes) -> Small:
  """A planted pair of positives, one held out of each user, with vectors."""
  dataset = synthetic.implicit(seed, **sizes)
  split = splits.leave_one_out(dataset.pair, seed, negatives=20)
  valid, test = (
    types.PerDomain(None, device.ranking_queries(held.target))
    for held in (split.valid, split.test)
  )
  return Small(
    split,
    device.sizes(split.train),
    device.put(split.train),
    valid,
    test,
    rankings.Unranked(),
  )


@functools.cache
def planted(source_ratings=2000) -> tuple[Small, float]:
  """A pair with a taste to be found, and what the bias model reaches."""
  pair = small(
    users=400,
    source=40,
    target=80,
    source_ratings=source_ratings,
    target_ratings=12000,
    noise=0.2,
  )
  floor = loop.fit(
    bias.model(pair.sizes),
    jax.random.key(0),
    pair.data,
    bias.Hyper(),
    epochs=10,
    valid=pair.valid,
    measure=pair.measure,
  )
  return pair, floor.best_value.item()


@functools.cache
def planted_implicit() -> tuple[Small, float]:
  """Positives with a taste to be found, and what popularity reaches."""
  pair = implicit(
    0,
    users=400,
    source=60,
    target=80,
    source_ratings=16000,
    target_ratings=16000,
  )
  popular = pair.data.target.by_item.length.astype(float)
  floor, _ = pair.measure(lambda _, items: popular[items], None, pair.valid.target)
  return pair, float(floor)


def ratings_of(events, n_users, n_items) -> types.Ratings:
  """Ratings from a list of [user, item, value]."""
  user, item, value = np.array(events, np.float64).reshape(-1, 3).T
  return types.Ratings(
    user.astype(np.int32),
    item.astype(np.int32),
    value.astype(np.float32),
    np.zeros(0, np.int64),
    n_users,
    n_items,
  )


def dense(ratings) -> np.ndarray:
  """The matrix `[U, items]` of implicit feedback: 1 for an interaction, else 0."""
  matrix = np.zeros((ratings.n_users, ratings.n_items))
  matrix[ratings.user, ratings.item] = 1
  return matrix


# --- The numbers of another implementation ----------------------------------


def golden(name):
  """Numbers of an independent float64 implementation."""
  path = pathlib.Path(__file__).parent / 'models' / f'{name}.json'
  return json.loads(path.read_text())


def copied(tree):
  """A tree with containers of its own, whose leaves a test may replace."""
  return jax.tree.map(lambda leaf: leaf, tree)


def count(tree) -> int:
  """How many numbers a tree of arrays or shapes holds."""
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def wave(shape, seed, scale=0.3, shift=0.0):
  """The parameters of the golden numbers: no random generator is shared."""
  n = np.arange(np.prod(shape, dtype=int))
  return (shift + scale * np.sin(1.3 * (n + 1) + 0.7 * seed)).reshape(shape)


def fill(k, shape, scale=0.3):
  """The parameters of the golden numbers of rankings."""
  i = np.arange(np.prod(shape, dtype=int))
  return jnp.asarray(scale * np.sin(0.5 + 1.3 * k + 0.7 * i).reshape(shape))


def golden_arrays():
  """The data of the golden numbers of ratings: sizes, arrays, test queries."""
  facts = golden('golden_rating')['data']
  users, source, target = facts['U,IS,IT']
  pair = types.Pair(
    ratings_of(facts['source_train'], users, source),
    ratings_of(facts['target_train'], users, target),
  )
  held = ratings_of(facts['target_test'], users, target)
  queries = device.rating_queries(types.HeldOut(held.user, held.item, held.value))
  return device.sizes(pair), device.put(pair), queries


def golden_pair_arrays() -> base.Arrays:
  """The data of the golden numbers of rankings, on the device."""

  def positives(matrix):
    user, item = np.nonzero(matrix)
    events = np.stack([user, item, np.ones_like(user)], axis=1)
    return ratings_of(events, *np.shape(matrix))

  facts = golden('golden_ranking')['vae_shared']
  return put_double(types.Pair(positives(facts['R_S']), positives(facts['R_T'])))


def put_double(pair: types.Pair) -> base.Arrays:
  """A pair on the device, in double precision where jax has it on."""
  double = jnp.asarray(0.0).dtype

  def put(leaf):
    return jnp.asarray(np.asarray(leaf, double)) if leaf.dtype == np.float32 else leaf

  return jax.tree.map(put, device.put(pair))


def fm_golden_params() -> fm_cdcf.Params:
  """The factorisation machine that the golden numbers were computed with."""
  factors = jnp.asarray(wave((14, 2), 102, scale=0.5))
  weights = jnp.asarray(wave((14,), 101))
  return fm_cdcf.Params(
    jnp.asarray(3.2),
    fm_cdcf.Features(*jnp.split(weights, [5, 11])),
    fm_cdcf.Features(*jnp.split(factors, [5, 11])),
  )


def fm_features(small: Small, centre) -> np.ndarray:
  """The feature vectors of all (user, item), `[U, T, U + T + S]`."""
  users, source, target = small.sizes
  events = small.split.train.source
  y = np.full((users, source), np.nan)
  y[events.user, events.item] = events.value
  known = ~np.isnan(y)
  z = y - centre * np.nanmean(y, axis=1, keepdims=True)
  z = np.where(known, z, 0) / known.sum(axis=1, keepdims=True)
  parts = np.eye(users)[:, None], np.eye(target), z[:, None]
  shape = users, target, -1
  return np.concatenate(
    [np.broadcast_to(x, (*shape[:2], x.shape[-1])) for x in parts], axis=2
  )


# --- Runs -------------------------------------------------------------------


class Killed(BaseException):
  """Stands for the end of the process."""


def run_outcome(folder):
  """The contents of a run's folder that resuming must not change."""
  lines = files.read_log(folder / 'metrics.jsonl')
  (record,) = files.read(folder / 'records.jsonl')
  for each in (*lines, record):
    for name in ('seconds', 'time', 'peak_memory', 'energy'):
      each.pop(name, None)
  with np.load(folder / 'test.npz') as arrays:
    return lines, record, {name: arrays[name].tolist() for name in arrays}


# The smallest synthetic pair that every method can train on.
TINY = dict(users=40, source=15, target=15, source_ratings=400, target_ratings=400)


def rating_record(name='a', seed=0, rmse=1.0, **config) -> dict:
  """The record of a run that predicts ratings, as its run folder holds it."""
  return {
    'name': name,
    'seed': seed,
    'config': {'name': name, 'method': 'bias', 'seed': seed, 'epochs': 5, 'data': {}}
    | config,
    'hyper': {'lr': 0.1},
    'hashes': {'data': 'data', 'split': f'split{seed}'},
    'versions': {'xdomain': '0.1.0', 'jax': '0.10.2'},
    'device': 'cpu cpu',
    'git': 'c0ffee',
    'test': {
      'rmse': rmse,
      'mae': rmse / 2,
      'rmse_interval': [rmse - 0.1, rmse + 0.1],
      'mae_interval': [rmse / 2 - 0.1, rmse / 2 + 0.1],
    },
    'valid_rmse': rmse,
    'failed': False,
    'epoch': 3,
    'parameters': 1000,
    'seconds': 2.0,
    'time': 'then',
  }


def ranking_record(name='r', seed=0, gain=0.5, **config) -> dict:
  """The record of a run that ranks; all of its measures are `gain`."""
  record = rating_record(name, seed, **config)
  del record['valid_rmse']
  test = {}
  for catalogue in ('sampled', 'full', 'expected'):
    test[catalogue] = dict.fromkeys(rankings.names(), gain)
    interval = [max(0.0, gain - 0.1), min(1.0, gain + 0.1)]
    test[f'{catalogue}_interval'] = dict.fromkeys(rankings.names(), interval)
  return record | {'valid_ndcg@10': gain, 'test': test}


# --- Trained methods --------------------------------------------------------


@functools.cache
def _trained(method, settings, epochs):
  pair = synthetic.pair(
    0, users=40, source=20, target=25, source_ratings=500, target_ratings=500
  )
  return xd.fit(
    method, pair, model=dict(settings), epochs=epochs, patience=epochs, every=epochs
  )


def trained(method, settings=None, epochs=1) -> xd.Trained:
  """A method after an epoch on a small planted pair, in the default view."""
  return _trained(method, tuple((settings or {}).items()), epochs)


# --- Commands ---------------------------------------------------------------


class Ended(NamedTuple):
  """A command that has ended."""

  returncode: int | str | None
  stdout: str
  stderr: str


def run_command(name: str, *arguments: object) -> Ended:
  """Runs `experiments.<name>` in this process, which has imported jax already."""
  modules_before = set(sys.modules)
  # Benchmarks that tests have imported define flags of the same names.
  set_aside = [
    (module, flag)
    for module, defined in flags.FLAGS.flags_by_module_dict().items()
    for flag in defined
    if module.startswith('benchmarks.')
  ]
  for _, flag in set_aside:
    delattr(flags.FLAGS, flag.name)
  flags_before = set(flags.FLAGS)
  out, err, code = io.StringIO(), io.StringIO(), 0
  argv = [f'experiments.{name}', *map(str, arguments)]
  with (
    mock.patch.object(sys, 'argv', argv),
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(err),
    warnings.catch_warnings(),
  ):
    # ml_collections loads a config in a way that Python deprecates.
    warnings.filterwarnings('ignore', 'the load_module')
    warnings.filterwarnings('ignore', '.*found in sys.modules', RuntimeWarning)
    try:
      runpy.run_module(f'experiments.{name}', run_name='__main__')
    except SystemExit as error:
      code = error.code or 0
    finally:  # Another command defines flags of the same names.
      for flag in set(flags.FLAGS) - flags_before:
        delattr(flags.FLAGS, flag)
      for module in set(sys.modules) - modules_before:
        if module.startswith('experiments.'):
          del sys.modules[module]
          delattr(sys.modules['experiments'], module.removeprefix('experiments.'))
      for module, flag in set_aside:
        flags.FLAGS[flag.name] = flag
        flags.FLAGS.register_flag_by_module(module, flag)
      flags.FLAGS.unparse_flags()
  return Ended(code, out.getvalue(), err.getvalue())

r"""One epoch of AutoRec: sparse rows against plain dense matrices.

python -m benchmarks.autorec
python -m benchmarks.autorec --cases=movielens --repeats=3

Both forms start from the same parameters and make the same updates: Adam on the
whole gradient, penalty included; the largest gap between their parameters after
an epoch is printed. The dense form is a `lax.scan` too, over rows of a full
matrix that stays on the device. Forms take turns; the fastest epoch counts.
Compilation is timed apart. Memory is what XLA plans for the program: arguments
and temporaries.
"""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

CASES = flags.DEFINE_list('cases', ['pair1', 'movielens'], 'Which data.')
AXES = flags.DEFINE_list('axes', ['user', 'item'], 'U- or I-AutoRec.')
BATCHES = flags.DEFINE_list('batches', ['128', '1024'], 'Rows a step.')
EMBED = flags.DEFINE_integer('embed', 500, 'Hidden units.')
REPEATS = flags.DEFINE_integer('repeats', 5, 'Epochs timed of each form.')


def pair1():
  """A planted pair of the shape of DARec's Table 1, pair 1."""
  from xdomain.data import synthetic

  return synthetic.pair(
    0, users=5154, source=10_398, target=21_732, source_ratings=40_294,
    target_ratings=158_927,
  )  # fmt: skip


def movielens():
  """The default pair."""
  from xdomain.data import load

  return load.dataset('movielens', at_least=5)


def dense_loss(params, level, value, count, alpha):
  """AutoRec's loss on full rows `[B, columns]`, 0 where not observed."""
  hidden = jax.nn.sigmoid(params.hidden + value @ params.encode)
  prediction = level + hidden @ params.decode.T + params.output
  error = jnp.where(value != 0, prediction - value, 0)
  penalty = sum(jnp.sum(p * p) for p in params)
  return jnp.sum(error**2) / count + alpha * penalty


@functools.partial(jax.jit, donate_argnames='state', static_argnames='tx')
def dense_epoch(state, visits, matrix, level, n_entries, hyper, tx):
  """The plain form of the epoch: matrix products and autodiff."""
  n_rows = matrix.shape[0] - 1  # The last row is empty.

  def step(state, rows):
    params, moments = state
    count = n_entries * jnp.sum(rows < n_rows) / n_rows
    gradients = jax.grad(dense_loss)(
      params, level, matrix[rows], count, hyper.alpha
    )
    updates, moments = tx.update(gradients, moments)
    params = jax.tree.map(lambda p, u: p - hyper.lr * u, params, updates)
    return (params, moments), None

  return jax.lax.scan(step, state, visits)[0]


def compare(name, data, sizes, axis, batch):
  """Prints a row: both forms on the same epoch."""
  import optax

  from xdomain import train
  from xdomain.models import autorec

  key, hyper = jax.random.key(0), autorec.Hyper()
  (stage,) = autorec.model(
    sizes, axis=axis, embed=EMBED.value, batch=batch
  ).stages
  rows = data.target.along(axis)
  visits = stage.epoch(jax.random.split(key)[0], data)
  matrix = np.zeros((rows.n_rows + 1, rows.n_columns), np.float32)
  matrix[rows.row, rows.column] = rows.value
  matrix, tx = jnp.asarray(matrix), optax.scale_by_adam()
  state = jax.jit(stage.init)(key, data, hyper, ())
  level = state.frozen
  sparse_program = train.run_epoch.lower(
    stage, 'single', state, key, data, hyper
  )
  arguments = (state.params, state.moments), visits, matrix, level
  dense_program = dense_epoch.lower(
    *arguments, float(rows.n_entries), hyper, tx
  )
  programs, compiled = {}, {}
  for form, program in (('sparse', sparse_program), ('dense', dense_program)):
    started = time.perf_counter()
    programs[form] = program.compile()
    compiled[form] = time.perf_counter() - started

  def sparse():
    fresh = jax.tree.map(jnp.copy, state)
    jax.block_until_ready(fresh)
    started = time.perf_counter()
    after, *_ = programs['sparse'](fresh, key, data, hyper, True)
    jax.block_until_ready(after)
    return time.perf_counter() - started, after.params

  def dense():
    fresh = jax.tree.map(jnp.copy, (state.params, state.moments))
    jax.block_until_ready(fresh)
    started = time.perf_counter()
    after = programs['dense'](
      fresh, visits, matrix, level, float(rows.n_entries), hyper
    )
    jax.block_until_ready(after)
    return time.perf_counter() - started, after[0]

  seconds = {'sparse': [], 'dense': []}
  for repeat in range(REPEATS.value + 1):
    ends = {}
    for form, run in (('dense', dense), ('sparse', sparse)):
      took, ends[form] = run()
      if repeat:  # The first epoch warms up.
        seconds[form].append(took)
  gap = max(
    float(jnp.max(jnp.abs(a - b)))
    for a, b in zip(ends['dense'], ends['sparse'])
  )
  best = {form: min(took) for form, took in seconds.items()}
  memory = {form: _mebibytes(program) for form, program in programs.items()}
  print(
    f'| {name} {axis[0].upper()}- | {batch} '
    f'| {rows.n_entries / best["dense"]:,.0f} '
    f'| {rows.n_entries / best["sparse"]:,.0f} '
    f'| {best["dense"] / best["sparse"]:.2f} '
    f'| {memory["dense"]:,.0f} | {memory["sparse"]:,.0f} '
    f'| {compiled["dense"]:.1f} | {compiled["sparse"]:.1f} | {gap:.0e} |',
    flush=True,
  )


def _mebibytes(program):
  memory = program.memory_analysis()
  return (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  from xdomain.data import arrays, splits

  print(
    '| data | batch | dense ratings/s | sparse ratings/s | ratio '
    '| dense MiB | sparse MiB | dense compile s | sparse compile s | gap |\n'
    '|---|---|---|---|---|---|---|---|---|---|'
  )
  for case in CASES.value:
    dataset = {'pair1': pair1, 'movielens': movielens}[case]()
    pair = splits.by_ratio(dataset.pair, 0).train
    data, sizes = arrays.put(pair), arrays.sizes(pair)
    for axis in AXES.value:
      for batch in map(int, BATCHES.value):
        compare(case, data, sizes, axis, batch)


if __name__ == '__main__':
  app.run(main)

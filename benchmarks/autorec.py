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
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from benchmarks import numbers

CASES = flags.DEFINE_list('cases', ['pair1', 'movielens'], 'Which data.')
AXES = flags.DEFINE_list('axes', ['user', 'item'], 'U- or I-AutoRec.')
BATCHES = numbers.define('batches', [128, 1024], 'Rows a step.')
EMBED = flags.DEFINE_integer('embed', 500, 'Hidden units.')
REPEATS = flags.DEFINE_integer('repeats', 5, 'Epochs timed of each form.')


def pair1():
  """A planted pair of the shape of DARec's Table 1, pair 1."""
  from xdomain.data import synthetic

  return synthetic.pair(
    0,
    users=5154,
    source=10_398,
    target=21_732,
    source_ratings=40_294,
    target_ratings=158_927,
  )


def movielens():
  """The default pair."""
  from xdomain.data import sources

  return sources.dataset('movielens', at_least=5, say=lambda line: None)


def dense_loss(params, level, value, count, alpha):
  """AutoRec's loss on full rows `[B, columns]`, 0 where not observed."""
  encoder, decoder = params['encoder'], params['decoder']
  hidden = jax.nn.sigmoid(value @ encoder['table'] + encoder['bias'])
  prediction = level + hidden @ decoder['table'].T + decoder['bias']
  error = jnp.where(value != 0, prediction - value, 0)
  penalty = sum(jnp.sum(p * p) for p in jax.tree.leaves(params))
  return jnp.sum(error**2) / count + alpha * penalty


@functools.partial(jax.jit, donate_argnames='state', static_argnames='tx')
def dense_epoch(state, visits, matrix, level, n_entries, hyper, tx):
  """The plain form of the epoch: matrix products and autodiff."""
  n_rows = matrix.shape[0] - 1  # The last row is empty.

  def step(state, rows):
    params, moments = state
    count = n_entries * jnp.sum(rows < n_rows) / n_rows
    gradients = jax.grad(dense_loss)(params, level, matrix[rows], count, hyper.alpha)
    updates, moments = tx.update(gradients, moments)
    params = jax.tree.map(lambda p, u: p - hyper.lr * u, params, updates)
    return (params, moments), None

  return jax.lax.scan(step, state, visits)[0]


class Form(NamedTuple):
  """A compiled epoch; it uses up `state` and returns the state after it."""

  program: Any
  state: Any
  rest: tuple
  params: Callable  # of what the program returns
  compiled: float  # seconds


def sparse_form(stage, data, hyper, key):
  """The epoch as the package runs it."""
  from xdomain.training import loop

  state = jax.jit(stage.init)(key, data, hyper, ())
  lowered = loop.epoch.lower(stage, state, key, data, hyper)
  program, seconds = _compile(lowered)
  rest = key, data, hyper
  return Form(program, state, rest, lambda out: out[0].params, seconds)


def dense_form(stage, data, hyper, key, rows):
  """The same epoch, of the same batches, on the whole matrix."""
  import optax

  trained = jax.jit(stage.init)(key, data, hyper, ())
  visits = stage.epoch(jax.random.split(key)[0], data)
  matrix = np.zeros((rows.n_rows + 1, rows.n_columns), np.float32)
  matrix[rows.row, rows.column] = rows.value
  state = trained.params, trained.moments
  count = float(rows.n_entries)
  rest = visits, jnp.asarray(matrix), trained.frozen, count, hyper
  lowered = dense_epoch.lower(state, *rest, optax.scale_by_adam())
  program, seconds = _compile(lowered)
  return Form(program, state, rest, lambda out: out[0], seconds)


def _compile(lowered):
  started = time.perf_counter()
  return lowered.compile(), time.perf_counter() - started


def epoch(form):
  """Seconds of one epoch from the form's first state, and its parameters."""
  fresh = jax.block_until_ready(jax.tree.map(jnp.copy, form.state))
  started = time.perf_counter()
  out = jax.block_until_ready(form.program(fresh, *form.rest))
  return time.perf_counter() - started, form.params(out)


def compare(name, data, sizes, axis, batch, embed, repeats) -> str:
  """A row of the table: both forms on the same epoch, in turn."""
  from xdomain.models import autorec
  from xdomain.reporting import render

  key, hyper = jax.random.key(0), autorec.Hyper()
  (stage,) = autorec.model(sizes, axis=axis, embed=embed, batch=batch).stages
  rows = data.target.along(axis)
  forms = [
    dense_form(stage, data, hyper, key, rows),
    sparse_form(stage, data, hyper, key),
  ]
  first, *timed = [[epoch(form) for form in forms] for _ in range(repeats + 1)]
  leaves = zip(*(jax.tree.leaves(params) for _, params in first))
  gap = max(float(jnp.max(jnp.abs(a - b))) for a, b in leaves)
  dense, sparse = (min(took[i][0] for took in timed) for i in (0, 1))
  cells = [
    f'{name} {axis[0].upper()}-',
    batch,
    *(f'{rows.n_entries / seconds:,.0f}' for seconds in (dense, sparse)),
    f'{dense / sparse:.2f}',
    *(f'{planned_mib(form.program):,.0f}' for form in forms),
    *(f'{form.compiled:.1f}' for form in forms),
    f'{gap:.0e}',
  ]
  return render.markdown_row(cells)


def planned_mib(program):
  """The memory that XLA plans for a program, its arguments included."""
  memory = program.memory_analysis()
  return (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  from xdomain.data import device, splits

  print(
    '| data | batch | dense ratings/s | sparse ratings/s | ratio '
    '| dense MiB | sparse MiB | dense compile s | sparse compile s | gap |\n'
    '|---|---|---|---|---|---|---|---|---|---|'
  )
  for case in CASES.value:
    dataset = {'pair1': pair1, 'movielens': movielens}[case]()
    pair = splits.by_ratio(dataset.pair, 0).train
    data, sizes = device.put(pair), device.sizes(pair)
    for axis in AXES.value:
      for batch in BATCHES.value:
        row = compare(case, data, sizes, axis, batch, EMBED.value, REPEATS.value)
        print(row, flush=True)


if __name__ == '__main__':
  app.run(main)

r"""One epoch of SharedVAE: sparse rows and one program against a plain form.

python -m benchmarks.shared_vae
python -m benchmarks.shared_vae --data=movielens --repeats=3

The plain form is what one writes first: multi-hot rows from the host, matrix
products, probabilities, the loss with its penalty by autodiff, a Python loop of
jitted steps. Both start from the same parameters, see the same batches and
noise and make the same updates (Adam); the largest gap between their parameters
after an epoch is printed. Forms take turns, for some seconds where epochs are
short; the fastest epoch counts. Compilation is timed apart. Memory is what XLA
plans for the epoch. `amazon` has the counts of SharedVAE's Amazon pair, and
a few steps stand for its epoch; `amazon10` has a tenth of each.
"""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from benchmarks import autorec, baselines

DATA = flags.DEFINE_list('data', ['movielens', 'amazon10', 'amazon'], 'Which data.')

SECONDS = 10  # for which short epochs are repeated at least

SMALL = dict(hidden=(256,), latent=128, batch=32)
LARGE = dict(hidden=(512, 256), latent=128, batch=128)


def movielens():
  """SharedVAE's MovieLens pair."""
  from configs import common
  from xdomain.data import sources

  return sources.dataset(say=lambda line: None, **common.data('movielens_implicit'))


def amazon(share):
  """A planted pair with this share of each count of SharedVAE's Amazon pair."""
  from xdomain.data import synthetic

  counts = dict(
    users=35_025,
    source=28_656,
    target=59_880,
    source_ratings=560_283,
    target_ratings=601_928,
  )
  return synthetic.pair(0, **{k: round(share * n) for k, n in counts.items()})


# Data, settings, and how many steps stand for an epoch.
CASES = {
  'movielens': (movielens, SMALL, None),
  'amazon10': (functools.partial(amazon, 0.1), LARGE, None),
  'amazon': (functools.partial(amazon, 1.0), LARGE, 4),
}


def plain_loss(params, x_s, x_t, weight, key, hyper):
  """SharedVAE's loss of multi-hot rows `[B, items]`, with probabilities."""
  from xdomain import nets
  from xdomain.models import shared_vae
  from xdomain.ops import mmd, variational

  def affine(layer, x):
    return x @ layer['kernel'] + layer['bias']

  def through(tree, x):
    for name in sorted(name for name in tree if name.startswith('hidden')):
      x = jnp.tanh(affine(tree[name], x))
    return x

  def encode(encoder, x):
    h = jnp.tanh(x @ encoder['bag']['table'] + encoder['bag']['bias'])
    h = through(encoder, h)
    return affine(encoder['mean'], h), affine(encoder['logvar'], h)

  def reconstruction(decoder, z, x):
    hidden = through(decoder, z)
    output = decoder['output']
    p = jax.nn.sigmoid(hidden @ output['table'].T + output['bias'])
    p = jnp.clip(p, 1e-7, 1 - 1e-7)
    log_p, log_q = jnp.log(p), jnp.log(1 - p)
    entropy = (1 + hyper.beta) * x * log_p + (1 - x) * log_q
    return -weight @ jnp.sum(entropy, axis=1) / jnp.sum(weight)

  keys = jax.random.split(key)
  source, target = params['source_0'], params['target']
  gaussians = encode(source['encoder'], x_s), encode(target['encoder'], x_t)
  z_s, z_t = (
    weight[:, None] * nets.sample(k, *gaussian) for k, gaussian in zip(keys, gaussians)
  )
  both = jnp.concatenate([z_s, z_t], axis=1)
  kl = sum(variational.kl_to_standard_normal(*each) for each in gaussians)
  squares = jax.tree.map(lambda p: jnp.sum(p**2), shared_vae.regularised(params))
  return (
    reconstruction(source['decoder'], z_s, x_s)
    + reconstruction(target['decoder'], both, x_t)
    + hyper.kl * (weight @ kl) / jnp.sum(weight)
    + hyper.align * mmd.biased(z_s, z_t, weight)
    + hyper.l2 * sum(jax.tree.leaves(squares))
  )


@functools.partial(jax.jit, static_argnames='tx')
def plain_step(params, moments, x_s, x_t, weight, key, hyper, tx):
  gradients = jax.grad(plain_loss)(params, x_s, x_t, weight, key, hyper)
  updates, moments = tx.update(gradients, moments)
  params = jax.tree.map(lambda p, u: p - hyper.lr * u, params, updates)
  return params, moments


def plain_epoch(state, visits, matrices, key, hyper, tx):
  """A Python loop over batches of rows that come from the host."""
  params, moments = state
  for number, batch in enumerate(_multi_hot(visits, matrices)):
    step_key = jax.random.fold_in(key, number)
    params, moments = plain_step(
      params, moments, *map(jnp.asarray, batch), step_key, hyper, tx
    )
  return jax.block_until_ready(params)


def compare(name, data, sizes, settings, steps, repeats, at_least=SECONDS) -> str:
  """A row of the table: both forms on the same epoch, in turn."""
  import optax

  from xdomain.models import shared_vae
  from xdomain.reporting import render
  from xdomain.training import loop

  (stage,) = shared_vae.model(sizes, **settings).stages
  every = stage.epoch
  stage = stage._replace(epoch=lambda key, data: every(key, data)[:steps])
  key, hyper = jax.random.key(0), shared_vae.Hyper()
  state = jax.jit(stage.init)(key, data, hyper, ())
  key_visits, key_steps = jax.random.split(key)
  visits = np.asarray(stage.epoch(key_visits, data))
  tx = optax.scale_by_adam(eps=1e-7)
  rest = visits, _matrices(data), key_steps, hyper, tx

  def plain():
    return plain_epoch((state.params, state.moments), *rest)

  lowered = loop.epoch.lower(stage, state, key, data, hyper)
  program, compiled = _timed(lowered.compile)

  def ours():
    return jax.block_until_ready(program(fresh, key, data, hyper))

  seconds = []
  end = time.perf_counter() + at_least
  while len(seconds) <= repeats or time.perf_counter() < end:
    fresh = jax.block_until_ready(jax.tree.map(jnp.copy, state))
    seconds.append((_timed(plain), _timed(ours)))
  first, *timed = seconds
  theirs, mine = (min(each[i][1] for each in timed) for i in (0, 1))
  gap = max(
    float(jnp.max(jnp.abs(a - b)))
    for a, b in zip(
      jax.tree.leaves(first[0][0]), jax.tree.leaves(first[1][0][0].params)
    )
  )
  users = np.count_nonzero(visits < sizes.users)
  cells = [
    name,
    *(f'{users / took:,.0f}' for took in (theirs, mine)),
    f'{theirs / mine:.2f}',
    *(f'{took:.1f}' for took in (first[0][1] - theirs, compiled)),
    f'{autorec.planned_mib(program):,.0f}',
    f'{gap:.0e}',
  ]
  return render.markdown_row(cells)


def _matrices(data):
  """Both domains on the host, sparse, with an empty row for padding."""
  matrices = [baselines.sparse(domain.by_user) for domain in data[:2]]
  for matrix in matrices:
    matrix.data = np.ones_like(matrix.data, np.float32)
    matrix.resize(matrix.shape[0] + 1, matrix.shape[1])
  return matrices


def _multi_hot(visits, matrices):
  """Dense rows of both domains, and the users' weights, of every batch."""
  for ids in visits:
    weight = (ids < matrices[0].shape[0] - 1).astype(np.float32)
    yield *(matrix[ids].toarray() for matrix in matrices), weight


def _timed(function):
  started = time.perf_counter()
  result = function()
  return result, time.perf_counter() - started


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  from xdomain.data import device

  print(
    '| data | plain users/s | users/s | ratio | plain compile s | compile s '
    '| MiB | gap |\n|---|---|---|---|---|---|---|---|'
  )
  for case in DATA.value:
    make, settings, steps = CASES[case]
    pair = make().pair
    row = compare(
      case,
      device.put(pair),
      device.sizes(pair),
      settings,
      steps,
      autorec.REPEATS.value,
    )
    print(row, flush=True)


if __name__ == '__main__':
  app.run(main)

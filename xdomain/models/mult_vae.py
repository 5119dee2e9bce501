"""Mult-VAE: an autoencoder whose items compete for a user's interactions.

Liang, Krishnan, Hoffman and Jebara, WWW 2018, eq. 2 and 5, on the target, or on
both domains joined into one (`config.view='merged'`). With `x` a user's 0/1 row
and `n` the number of its positives:

  h    = tanh(W dropout(x / sqrt(n)) + b),   z ~ N(mean(h), var(h))
  L    = mean over users of [ -sum_i x_i log softmax(dec(z))_i + weight KL ]

The weight rises in equal steps to `kl`, which it reaches at the end of `anneal`
epochs (section 2.2.2). Users are scored by the means of their posteriors.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, nets, stages
from xdomain.ops import sampling, sparse, variational


class Hyper(NamedTuple):
  lr: float = 1e-3
  kl: float = 0.2  # the weight of KL after annealing
  anneal: float = 20.0  # epochs until then
  dropout: float = 0.5  # of the input


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  hidden: tuple[int, ...] = (600,),
  latent: int = 200,
  batch: int = 128,
) -> base.Model:
  """Mult-VAE of the target domain.

  Args:
    sizes: of the pair.
    hidden: widths of the encoder's hidden layers; the decoder's are reversed.
    latent: latents, Z.
    batch: users a step, B; a step holds the logits of all items for each.
  """
  network = nets.Autoencoder(sizes.target, tuple(hidden), latent)
  steps = sampling.n_batches(sizes.users, batch)

  def init(key, data, hyper, previous):
    del data, hyper, previous
    params = nets.init(network, key, nets.no_entries(), 1)
    return params, jnp.zeros(())  # The weight of KL.

  def epoch(key, data):
    return data.target.by_user.batches(key, batch)

  def loss(params, weight, visit, data, key, hyper):
    entries = data.target.by_user.entries(visit)
    key_drop, key_sample = jax.random.split(key)
    keep = dropout(key_drop, hyper.dropout, entries.weight.shape)
    shown = normalised(entries, visit.size, keep)
    mean, logvar = nets.apply(network, params, shown, visit.size, method='encode')
    z = nets.sample(key_sample, mean, logvar)
    units = nets.apply(network, params, z, method='units')
    logits = nets.apply(network, params, units, method='logits')
    users = nets.present(entries, visit.size)
    count = jnp.maximum(jnp.sum(users), 1)
    nll = multinomial(logits, entries) / count
    kl = users @ variational.kl_to_standard_normal(mean, logvar) / count
    metrics = {'nll': nll, 'kl': kl, 'ratings': jnp.sum(entries.weight)}
    return nll + weight * kl, metrics

  def units(params, data):
    """`[U, H]` the decoder's last hidden layer, of posterior means."""
    rows = data.target.by_user

    def of_users(ids):
      shown = normalised(rows.entries(ids), ids.size)
      mean, _ = nets.apply(network, params, shown, ids.size, method='encode')
      return nets.apply(network, params, mean, method='units')

    return rows.for_all(of_users)

  def scored(scores, state, data):
    return scores(network, state.params, units(state.params, data))

  predict = functools.partial(scored, nets.scores)
  predict_all = functools.partial(scored, nets.all_scores)

  plain = stages.gradient_stage(init, loss, epoch, predict=predict)

  def step(state, visit, data, key, hyper):
    done = (state.moments.count + 1) / steps  # epochs, this step included
    share = jnp.minimum(1, done / jnp.maximum(hyper.anneal, 1e-6))
    state = state._replace(frozen=hyper.kl * share)
    return plain.step(state, visit, data, key, hyper)

  stage = plain._replace(step=step)
  return base.Model(
    (stage,),
    stage.predict,
    predict_all=predict_all,
    target_only=True,
    fold_in=base.reads_rows,
  )


def normalised(
  entries: sparse.Entries, n_rows: int, keep: base.Array | float = 1.0
) -> sparse.Entries:
  """The entries with values `keep / sqrt(n)`, where their row has n entries.

  Args:
    entries: the interactions of a batch of users; their values are not read.
    n_rows: the number of users.
    keep: what dropout leaves of each entry, `[P]` or a scalar.
  """
  norm = jnp.sqrt(jnp.maximum(nets.counts(entries, n_rows), 1))
  return entries._replace(value=keep * entries.weight / norm[entries.segment])


def dropout(key: base.Array, rate: base.Array, shape: tuple[int, ...]) -> base.Array:
  """0 with probability `rate`, which may be traced, else `1 / (1 - rate)`."""
  kept = jax.random.uniform(key, shape) >= rate
  return kept / jnp.maximum(1 - rate, 1e-6)


def multinomial(logits: base.Array, entries: sparse.Entries) -> base.Array:
  """The negative log likelihood of the entries of a batch, a sum.

  Args:
    logits: `[B, n]` of all items.
    entries: the positives, of rows `0..B-1`.
  """
  total = jax.nn.logsumexp(logits, axis=1)
  chosen = logits[entries.segment, entries.column]
  return jnp.sum(entries.weight * (total[entries.segment] - chosen))

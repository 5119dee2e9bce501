"""Mult-VAE: an autoencoder whose items compete for a user's interactions.

Liang et al. 2018, eq. 2 and 5, on the target, or on both domains as one
(`config.view='merged'`). With `x` a user's 0/1 row and `n` its positives:

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
  kl: float = 0.2  # the weight that KL ends with
  anneal: float = 20.0  # epochs until then
  dropout: float = 0.5  # of the input


class Params(NamedTuple):
  encode: nets.Encoder
  decode: nets.Decoder


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
    batch: users a step, B; logits of all items are held of each.
  """
  steps = sampling.n_batches(sizes.users, batch)

  def init(key, data, hyper, previous):
    del data, hyper, previous
    key_in, key_out = jax.random.split(key)
    params = Params(
      nets.encoder(key_in, sizes.target, hidden, latent),
      nets.decoder(key_out, latent, hidden, sizes.target),
    )
    return params, jnp.zeros(())  # The weight of KL.

  def epoch(key, data):
    return data.target.by_user.batches(key, batch)

  def loss(params, weight, visit, data, key, hyper):
    entries = data.target.by_user.entries(visit)
    key_drop, key_sample = jax.random.split(key)
    keep = dropout(key_drop, hyper.dropout, entries.weight.shape)
    mean, logvar = encode(params.encode, entries, visit.size, keep)
    z = nets.sample(key_sample, mean, logvar)
    hidden = nets.through(params.decode.hidden, z)
    logit = hidden @ params.decode.table.T + params.decode.bias
    users = nets.present(entries, visit.size)
    count = jnp.maximum(jnp.sum(users), 1)
    nll = multinomial(logit, entries) / count
    kl = users @ variational.kl_to_standard_normal(mean, logvar) / count
    metrics = {'nll': nll, 'kl': kl, 'ratings': jnp.sum(entries.weight)}
    return nll + weight * kl, metrics

  def last_hidden(params, data):
    """`[U, H]` of the decoder, from posterior means."""
    rows = data.target.by_user

    def of(ids):
      mean, _ = encode(params.encode, rows.entries(ids), ids.size)
      return nets.through(params.decode.hidden, mean)

    return rows.for_all(of)

  def predict(state, data):
    params = state.params
    return nets.scores(params.decode, last_hidden(params, data))

  def predict_all(state, data):
    params = state.params
    return nets.all_scores(params.decode, last_hidden(params, data))

  plain = stages.gradient_stage(init, loss, epoch, predict=predict)

  def step(state, visit, data, key, hyper):
    done = (state.moments.count + 1) / steps  # epochs, this step included
    share = jnp.minimum(1, done / jnp.maximum(hyper.anneal, 1e-6))
    state = state._replace(frozen=hyper.kl * share)
    return plain.step(state, visit, data, key, hyper)

  stage = plain._replace(step=step)
  return base.Model((stage,), stage.predict, predict_all=predict_all, target_only=True)


def encode(params, entries, n_rows, keep=1.0):
  """Means and log variances of users, `[n_rows, Z]` each.

  Args:
    params: of the encoder.
    entries: of the users' rows; that there is one counts, not its value.
    n_rows: how many users.
    keep: what dropout leaves of each entry, `[P]` or a scalar.
  """
  count = jax.ops.segment_sum(entries.weight, entries.segment, n_rows)
  norm = jnp.sqrt(jnp.maximum(count, 1))
  scaled = keep * entries.weight / norm[entries.segment]
  h = sparse.gather_sum(params.table, entries._replace(value=scaled), n_rows)
  h = nets.through(params.hidden, jnp.tanh(h + params.bias))
  return params.mean(h), params.logvar(h)


def dropout(key, rate, shape):
  """0 at a rate, which may be traced, and else what keeps the mean at 1."""
  kept = jax.random.uniform(key, shape) >= rate
  return kept / jnp.maximum(1 - rate, 1e-6)


def multinomial(logit, entries):
  """Negative log likelihood of the entries of a batch, a sum.

  Args:
    logit: `[B, n]` of all items.
    entries: the positives, of rows `0..B-1`.
  """
  total = jax.nn.logsumexp(logit, axis=1)
  chosen = logit[entries.segment, entries.column]
  return jnp.sum(entries.weight * (total[entries.segment] - chosen))

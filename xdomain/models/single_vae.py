"""Single and Merged: one variational autoencoder of the target domain.

Section 5.4 of "Latent user linking for cross-domain recommendation" (2019-20,
"SharedVAE"), whose eq. 5 and 8 they keep for a single domain:

  z ~ N(mean, var) of a tanh encoder of r,   l = dec(z)
  rec = sum over items of softplus(l) + sum over positives of
        beta softplus(-l) - l
  L   = mean over users of [ rec + kl KL ] + l2 |all layers but the output|^2

On the target alone this is Single (Single0 with `beta=0`); on both domains
joined into one (`config.view='merged'`) it is Merged. The penalty enters as a
gradient: the logged loss is without it. Users are scored by posterior means.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import optax

from xdomain import base, nets, stages
from xdomain.ops import losses, variational


class Hyper(NamedTuple):
  lr: float = 1e-3
  beta: float = 1.0  # extra weight of positives, eq. 8
  kl: float = 1.0  # eq. 5
  l2: float = 1e-4  # eq. 5


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  hidden: tuple[int, ...] = (256,),
  latent: int = 128,
  batch: int = 32,
  chunk: int | None = None,
) -> base.Model:
  """A variational autoencoder of the target domain.

  Args:
    sizes: of the pair.
    hidden: widths of the encoder's hidden layers; the decoder's are reversed.
    latent: latents, Z.
    batch: users a step, B.
    chunk: items of the decoder at a time; None lets their number decide.
  """
  network = nets.Autoencoder(sizes.target, tuple(hidden), latent)

  def init(key, data, hyper, previous):
    del data, hyper, previous
    return nets.init(network, key, nets.no_entries(), 1), ()

  def epoch(key, data):
    return data.target.by_user.batches(key, batch)

  def encode(params, data, ids):
    """Interactions, means and log variances of users `[B]`."""
    entries = nets.indicators(data.target.by_user.entries(ids))
    posterior = nets.apply(network, params, entries, ids.size, method='encode')
    return entries, *posterior

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    entries, mean, logvar = encode(params, data, visit)
    users = nets.present(entries, visit.size)
    count = jnp.maximum(jnp.sum(users), 1)
    reconstruction = nets.apply(
      network,
      params,
      nets.sample(key, mean, logvar),
      entries,
      hyper.beta,
      users / count,
      chunk,
      method='cross_entropy',
    )
    kl = users @ variational.kl_to_standard_normal(mean, logvar) / count
    penalty = losses.ridge(nets.regularised(params), hyper.l2)
    metrics = {'target': reconstruction, 'kl': kl, 'ratings': jnp.sum(entries.weight)}
    return reconstruction + hyper.kl * kl + penalty, metrics

  def units(params, data):
    """`[U, H]` the decoder's last hidden layer, of posterior means."""

    def of_users(ids):
      _, mean, _ = encode(params, data, ids)
      return nets.apply(network, params, mean, method='units')

    return data.target.by_user.for_all(of_users)

  def scored(scores, state, data):
    return scores(network, state.params, units(state.params, data))

  predict = functools.partial(scored, nets.scores)
  predict_all = functools.partial(scored, nets.all_scores)

  stage = stages.gradient_stage(
    init, loss, epoch, tx=optax.scale_by_adam(eps=1e-7), predict=predict
  )
  return base.Model(
    (stage,),
    stage.predict,
    predict_all=predict_all,
    target_only=True,
    fold_in=base.reads_rows,
  )

"""One variational autoencoder of the target: Single, Merged and their kind.

SharedVAE (2019-20), section 5.4; eq. 5 and 8 for a single domain:

  z ~ N(mean, var) of a tanh encoder of r,   l = dec(z)
  L = mean over users of [ rec + kl KL ] + l2 |all layers but the output|^2

`rec` as in `shared_vae`. On the target alone this is Single (Single0 with
`beta=0`); on both domains as one (`config.view='merged'`) it is Merged. The
penalty enters as a gradient: the logged loss is without it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from xdomain import base, nets, stages
from xdomain.ops import losses, variational


class Hyper(NamedTuple):
  lr: float = 1e-3
  beta: float = 1.0  # extra weight of positives, eq. 8
  kl: float = 1.0  # eq. 5
  l2: float = 1e-4  # eq. 5


class Params(NamedTuple):
  encode: nets.Encoder
  decode: nets.Decoder


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
    batch: users a step.
    chunk: items of the decoder at a time; None lets their number decide.
  """

  def init(key, data, hyper, previous):
    del data, hyper, previous
    key_in, key_out = jax.random.split(key)
    return Params(
      nets.encoder(key_in, sizes.target, hidden, latent),
      nets.decoder(key_out, latent, hidden, sizes.target),
    ), ()

  def epoch(key, data):
    return data.target.by_user.batches(key, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    entries = data.target.by_user.entries(visit)
    there = nets.present(entries, visit.size)
    count = jnp.maximum(jnp.sum(there), 1)
    mean, logvar = nets.encode(params.encode, entries, visit.size)
    z = nets.sample(key, mean, logvar)
    reconstruction = variational.reconstruction(
      nets.through(params.decode.hidden, z),
      params.decode.table,
      params.decode.bias,
      entries,
      hyper.beta,
      there / count,
      chunk=chunk,
    )
    kl = there @ variational.kl_to_standard_normal(mean, logvar) / count
    value = reconstruction + hyper.kl * kl
    penalty = losses.ridge((params.encode, params.decode.hidden), hyper.l2)
    metrics = {'target': reconstruction, 'kl': kl}
    return value + penalty, metrics | {'ratings': jnp.sum(entries.weight)}

  def last_hidden(params, data):
    """`[U, H]` of the decoder, from posterior means."""
    rows = data.target.by_user

    def of(ids):
      mean, _ = nets.encode(params.encode, rows.entries(ids), ids.size)
      return nets.through(params.decode.hidden, mean)

    return rows.for_all(of)

  def predict(state, data):
    params = state.params
    return nets.scores(params.decode, last_hidden(params, data))

  def predict_all(state, data):
    params = state.params
    return nets.all_scores(params.decode, last_hidden(params, data))

  stage = stages.gradient_stage(
    init, loss, epoch, tx=optax.scale_by_adam(eps=1e-7), predict=predict
  )
  return base.Model((stage,), stage.predict, predict_all=predict_all, target_only=True)

"""SharedVAE: the target's decoder reads the latent user of the source as well.

Latent user linking for cross-domain recommendation, 2019-20 ("SharedVAE"), eq.
1-10. For a user with positives r_S and r_T:

  z_*  ~ N(mean, var)  of a tanh encoder of r_*
  l_S  = dec_S(z_S),   l_T = dec_T([z_S, z_T])            logits
  L    = mean over users of sum_* [ rec_* + kl KL_* ]
         + align A(z_S, z_T) + l2 |all layers but the outputs|^2
  rec  = sum over items of softplus(l) + sum over positives of
         beta softplus(-l) - l

The source never reads the target, so its reconstruction leaves the target's
encoder alone. Where paper and published code disagree: heads are linear, the
reconstruction is a sum over items and output layers are not regularised, as in
the code; A is an MMD, as in the paper (`paired_l2` is the code's). Users are
ranked for by posterior means, which is better than the code's one sample. The
penalty enters as a gradient: the logged loss is without it.

Several source domains (spec 4.5): `data.source` is a tuple, A is the mean over
them, and the decoder reads all of their latents. Somebody without positives in
a source is no part of its terms, and has latent 0 there; somebody without any
in the target is not trained on.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from xdomain import base, nets, stages, wording
from xdomain.ops import losses, mmd, sparse, variational

ALIGNMENTS = {
  'mmd': mmd.biased,
  'mmd_unbiased': mmd.unbiased,
  'mmd_linear_time': mmd.linear_time,
  'mmd_linear': mmd.linear_kernel,
  'paired_l2': mmd.paired_l2,
}


class Hyper(NamedTuple):
  lr: float = 1e-3
  beta: float = 1.0  # extra weight of positives, eq. 8
  align: float = 1.0  # eq. 10; 0 is MMD0
  kl: float = 1.0  # eq. 5
  l2: float = 1e-4  # eq. 5


class Params(NamedTuple):
  encode_s: tuple[nets.Encoder, ...]
  encode_t: nets.Encoder
  decode_s: tuple[nets.Decoder, ...]
  decode_t: nets.Decoder
  link: base.Tree  # of the link between latents and the target's decoder


class Link(NamedTuple):
  """How latents become what the target's decoder reads."""

  width: Callable  # (sources, latent) -> columns
  init: Callable  # (key, sources, latent) -> params
  read: Callable  # (params, z_s [B, sources x Z], z_t [B, Z]) -> [B, columns]
  loss: Callable  # (read, z_t) -> [B]
  weight: Callable  # (hyper) -> of that loss


# Eq. 6: both latents side by side.
CONCATENATED = Link(
  width=lambda sources, latent: (sources + 1) * latent,
  init=lambda key, sources, latent: (),
  read=lambda params, z_s, z_t: jnp.concatenate([z_s, z_t], axis=1),
  loss=lambda read, z_t: jnp.zeros(z_t.shape[0]),
  weight=lambda hyper: 0.0,
)


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  hidden: tuple[int, ...] = (256,),
  latent: int = 128,
  batch: int = 32,
  alignment: str = 'mmd',
  chunk: int | None = None,
) -> base.Model:
  """SharedVAE.

  Args:
    sizes: of the pair.
    hidden: widths of an encoder's hidden layers; a decoder's are reversed.
    latent: latents of a domain, Z.
    batch: users a step.
    alignment: one of `ALIGNMENTS`.
    chunk: items of a decoder at a time; None lets their number decide.
  """
  return linked(
    sizes,
    CONCATENATED,
    hidden=hidden,
    latent=latent,
    batch=batch,
    alignment=alignment,
    chunk=chunk,
  )


def linked(
  sizes, link, *, hidden, latent, batch, alignment, chunk, side=()
) -> base.Model:
  """SharedVAE with a link of its own, and perhaps auxiliary user vectors.

  Args:
    sizes: of the pair.
    link: between latents and the target's decoder.
    hidden: as of `model`, like the settings that follow.
    latent: see there.
    batch: see there.
    alignment: see there.
    chunk: see there.
    side: widths of the layers of the auxiliary vector; empty without.
  """
  if alignment not in ALIGNMENTS:
    raise ValueError(
      f'alignment is {alignment!r}{wording.instead(alignment, ALIGNMENTS)}'
    )
  align = ALIGNMENTS[alignment]

  def init(key, data, hyper, previous):
    del hyper, previous
    if side and data.side is None:
      raise base.Unfit(
        'it reads auxiliary vectors of users, and the data has none; own files'
        ' bring theirs by config.data.side'
      )
    sources = data.sources
    shape = dict(hidden=hidden, latent=latent)
    width = () if not side else (data.side.shape[-1], *side)
    keys = iter(jax.random.split(key, 2 * len(sources) + 3))
    encode_s = tuple(
      nets.encoder(next(keys), each.by_user.n_columns, side=width, **shape)
      for each in sources
    )
    encode_t = nets.encoder(next(keys), sizes.target, side=width, **shape)
    decode_s = tuple(
      nets.decoder(next(keys), latent, hidden, each.by_user.n_columns)
      for each in sources
    )
    inputs = link.width(len(sources), latent)
    decode_t = nets.decoder(next(keys), inputs, hidden, sizes.target)
    linking = link.init(next(keys), len(sources), latent)
    return Params(encode_s, encode_t, decode_s, decode_t, linking), ()

  def epoch(key, data):
    return _people(data).batches(key, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    seen = _seen(params, data, visit)
    trained = seen[-1].there
    weights = [trained * one.there for one in seen]
    count = jnp.maximum(jnp.sum(trained), 1)
    keys = jax.random.split(key, len(seen))
    *z_s, z_t = [
      weight[:, None] * nets.sample(key, one.mean, one.logvar)
      for weight, key, one in zip(weights, keys, seen, strict=True)
    ]
    read = link.read(params.link, jnp.concatenate(z_s, axis=1), z_t)
    *source, target = [
      variational.reconstruction(
        nets.through(decoder.hidden, z),
        decoder.table,
        decoder.bias,
        one.entries,
        hyper.beta,
        weight / count,
        chunk=chunk,
      )
      for decoder, z, one, weight in zip(
        (*params.decode_s, params.decode_t),
        (*z_s, read),
        seen,
        weights,
        strict=True,
      )
    ]
    kl = sum(
      weight @ variational.kl_to_standard_normal(one.mean, one.logvar)
      for one, weight in zip(seen, weights, strict=True)
    )
    aligned = [align(z, z_t, w) for z, w in zip(z_s, weights)]
    parts = {
      'source': sum(source),
      'target': target,
      'kl': kl / count,
      'alignment': sum(aligned) / len(aligned),
      'link': trained @ link.loss(read, z_t) / count,
    }
    value = (
      parts['source']
      + parts['target']
      + hyper.kl * parts['kl']
      + hyper.align * parts['alignment']
      + link.weight(hyper) * parts['link']
    )
    parts['ratings'] = sum(jnp.sum(one.entries.weight) for one in seen)
    return value + losses.ridge(regularised(params), hyper.l2), parts

  def last_hidden(params, data):
    """`[U, H]` of the target's decoder, from posterior means."""

    def of(ids):
      *sources, target = _seen(params, data, ids)
      z_s = [one.there[:, None] * one.mean for one in sources]
      z_s = jnp.concatenate(z_s, axis=1)
      read = link.read(params.link, z_s, target.mean)
      return nets.through(params.decode_t.hidden, read)

    return _people(data).for_all(of)

  def predict(state, data):
    params = state.params
    return nets.scores(params.decode_t, last_hidden(params, data))

  def predict_all(state, data):
    params = state.params
    return nets.all_scores(params.decode_t, last_hidden(params, data))

  stage = stages.gradient_stage(
    init, loss, epoch, tx=optax.scale_by_adam(eps=1e-7), predict=predict
  )
  return base.Model(
    (stage,), stage.predict, predict_all=predict_all, several_sources=True
  )


class _Seen(NamedTuple):
  """A batch of users in one domain."""

  entries: sparse.Entries
  there: base.Array  # [B] float32, 1 for those with any positives
  mean: base.Array  # [B, Z]
  logvar: base.Array  # [B, Z]


def _seen(params, data, ids):
  """The users `[B]` in every domain, the target last."""
  encoders = (*params.encode_s, params.encode_t)
  domains = []
  for k, entries in enumerate(_people(data).entries(ids)):
    side = data.side
    if side is not None:
      side = (side[:, k] if side.ndim == 3 else side)[ids]
    encoded = nets.encode(encoders[k], entries, ids.size, side)
    domains.append(_Seen(entries, nets.present(entries, ids.size), *encoded))
  return domains


def _people(data):
  """Everybody, in the sources and in the target."""
  return base.Together(
    *(source.by_user for source in data.sources), data.target.by_user
  )


def regularised(params):
  """All layers but the outputs: kernels and biases, as in the code."""
  decoders = (*params.decode_s, params.decode_t)
  hidden = [decoder.hidden for decoder in decoders]
  return params.encode_s, params.encode_t, hidden, params.link

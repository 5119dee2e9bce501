"""SharedVAE: the target's decoder reads the latent user of the source as well.

"Latent user linking for cross-domain recommendation" (2019-20, "SharedVAE"),
eq. 1-10. For a user with positives r_S and r_T:

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
scored by posterior means, which ranks better than the code's one sample. The
penalty enters as a gradient: the logged loss is without it.

With several source domains, `data.source` is a tuple, A is the mean over them,
and the target's decoder reads all of their latents. A user without positives in
a source has latent 0 there and no part in its terms; a user without positives
in the target is not trained on.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from xdomain import base, nets, stages, wording
from xdomain.ops import losses, mmd, sparse, variational

ALIGNMENTS = {'mmd': mmd.biased, 'paired_l2': mmd.paired_l2}


class Hyper(NamedTuple):
  lr: float = 1e-3
  beta: float = 1.0  # extra weight of positives, eq. 8
  align: float = 1.0  # eq. 10; 0 is MMD0
  kl: float = 1.0  # eq. 5
  l2: float = 1e-4  # eq. 5


class Link(NamedTuple):
  """Turns latents into the input of the target's decoder, with a loss of its own."""

  read: nn.Module  # (z_s [B, sources x Z], z_t [B, Z]) -> [B, columns]
  loss: Callable  # (what is read, z_t) -> [B]
  weight: Callable  # (hyper) -> of that loss


class SideBySide(nn.Module):
  """Eq. 6: the target's decoder reads all latents, `[z_S, z_T]`."""

  def __call__(self, z_s, z_t):
    return jnp.concatenate([z_s, z_t], axis=1)


SIDE_BY_SIDE = Link(
  read=SideBySide(),
  loss=lambda read, z_t: jnp.zeros(z_t.shape[0]),
  weight=lambda hyper: 0.0,
)


class SharedVAE(nn.Module):
  """An autoencoder for each domain, `source_0, ...` and `target`, and the `link`.

  Attributes:
    items: of each source, then of the target.
    widths: of an encoder's hidden layers; a decoder's are reversed.
    latent: latents of a domain, Z.
    side_widths: of the layers of the auxiliary vector; empty without one.
    link: between the latents and the target's decoder.
  """

  items: tuple[int, ...]
  widths: tuple[int, ...]
  latent: int
  side_widths: tuple[int, ...]
  link: nn.Module

  def setup(self):
    *self.source, self.target = [
      nets.Autoencoder(items, self.widths, self.latent, self.side_widths)
      for items in self.items
    ]

  def __call__(self, entries: Sequence[sparse.Entries], n_rows: int, sides) -> list:
    """Logits of every domain, from posterior means; initialises the module."""
    means = [mean for mean, _ in self.encode(entries, n_rows, sides)]
    *z_s, z_t = means
    domains = [*self.source, self.target]
    return [
      each.logits(each.units(z))
      for each, z in zip(domains, [*z_s, self.read(z_s, z_t)], strict=True)
    ]

  def encode(
    self,
    entries: Sequence[sparse.Entries],
    n_rows: int,
    sides: Sequence[base.Array | None],
  ) -> list:
    """Means and log variances `[n_rows, Z]` of each domain, the target last."""
    domains = [*self.source, self.target]
    return [
      each.encode(of_domain, n_rows, side)
      for each, of_domain, side in zip(domains, entries, sides, strict=True)
    ]

  def read(self, z_s: Sequence[base.Array], z_t: base.Array) -> base.Array:
    """`[B, columns]` what the target's decoder reads."""
    return self.link(jnp.concatenate(z_s, axis=1), z_t)

  def reconstruct(
    self,
    z: Sequence[base.Array],
    entries: Sequence[sparse.Entries],
    beta: base.Array,
    weights: Sequence[base.Array],
    chunk: int | None,
  ) -> list[base.Array]:
    """The reconstruction of each domain by what its decoder reads, scalars."""
    domains = [*self.source, self.target]
    return [
      each.cross_entropy(latent, row, beta, weight, chunk)
      for each, weight, latent, row in zip(domains, weights, z, entries, strict=True)
    ]


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
    batch: users a step, B.
    alignment: one of `ALIGNMENTS`.
    chunk: items of a decoder at a time; None lets their number decide.
  """
  del sizes
  return linked(
    SIDE_BY_SIDE,
    hidden=hidden,
    latent=latent,
    batch=batch,
    alignment=alignment,
    chunk=chunk,
  )


def linked(
  link: Link,
  *,
  hidden: tuple[int, ...],
  latent: int,
  batch: int,
  alignment: str,
  chunk: int | None,
  side: tuple[int, ...] = (),
) -> base.Model:
  """SharedVAE with its own link, and with or without auxiliary user vectors.

  Args:
    link: between the latents and the target's decoder.
    hidden: as of `model`, like the settings that follow.
    latent: latents of a domain, Z.
    batch: users a step, B.
    alignment: one of `ALIGNMENTS`.
    chunk: items of a decoder at a time.
    side: widths of the layers of the auxiliary vector; empty without one.
  """
  if alignment not in ALIGNMENTS:
    raise ValueError(
      f'alignment is {alignment!r}{wording.instead(alignment, ALIGNMENTS)}'
    )
  align = ALIGNMENTS[alignment]

  def network_of(data) -> SharedVAE:
    items = tuple(each.by_user.n_columns for each in (*data.sources, data.target))
    return SharedVAE(items, tuple(hidden), latent, tuple(side), link.read)

  def init(key, data, hyper, previous):
    del hyper, previous
    if side and data.side is None:
      raise base.Unfit(
        'it reads auxiliary vectors of users, and the data has none; for own files'
        ' name theirs, as in side=vectors.csv'
      )
    n = len(data.sources) + 1
    nothing = [nets.no_entries()] * n, 1, _sides(data, jnp.zeros(1, int), n)
    return nets.init(network_of(data), key, *nothing), ()

  def epoch(key, data):
    return _users(data).batches(key, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    network = network_of(data)
    seen = _seen(network, params, data, visit)
    trained = seen[-1].present
    weights = [trained * one.present for one in seen]
    count = jnp.maximum(jnp.sum(trained), 1)
    keys = jax.random.split(key, len(seen))
    *z_s, z_t = [
      weight[:, None] * nets.sample(key, one.mean, one.logvar)
      for weight, key, one in zip(weights, keys, seen, strict=True)
    ]
    read = nets.apply(network, params, z_s, z_t, method='read')
    *source, target = nets.apply(
      network,
      params,
      [*z_s, read],
      [one.entries for one in seen],
      hyper.beta,
      [weight / count for weight in weights],
      chunk,
      method='reconstruct',
    )
    kl = sum(
      weight @ variational.kl_to_standard_normal(one.mean, one.logvar)
      for one, weight in zip(seen, weights, strict=True)
    )
    aligned = [align(z, z_t, weight) for z, weight in zip(z_s, weights)]
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

  def units(params, data):
    """`[U, H]` of the target's decoder, from posterior means."""
    network = network_of(data)

    def of_users(ids):
      *sources, target = _seen(network, params, data, ids)
      z_s = [one.present[:, None] * one.mean for one in sources]
      read = nets.apply(network, params, z_s, target.mean, method='read')
      return nets.apply(
        network, params, read, method=lambda net, z: net.target.units(z)
      )

    return _users(data).for_all(of_users)

  def scored(scores, state, data):
    """Scores by the target's autoencoder alone, given its last hidden layer."""
    target = nets.Autoencoder(
      data.target.by_user.n_columns, tuple(hidden), latent, tuple(side)
    )
    return scores(target, state.params['target'], units(state.params, data))

  predict = functools.partial(scored, nets.scores)
  predict_all = functools.partial(scored, nets.all_scores)

  stage = stages.gradient_stage(
    init, loss, epoch, tx=optax.scale_by_adam(eps=1e-7), predict=predict
  )
  return base.Model(
    (stage,),
    stage.predict,
    predict_all=predict_all,
    several_sources=True,
    fold_in=None if side else base.reads_rows,  # New users have no side vector.
  )


class _Seen(NamedTuple):
  """A batch of users in one domain."""

  entries: sparse.Entries
  present: base.Array  # [B] float32, 1 for users with any positives
  mean: base.Array  # [B, Z]
  logvar: base.Array  # [B, Z]


def _seen(network, params, data, ids):
  """The users `[B]` in every domain, the target last."""
  entries = [nets.indicators(each) for each in _users(data).entries(ids)]
  posteriors = nets.apply(
    network, params, entries, ids.size, _sides(data, ids, len(entries)), method='encode'
  )
  return [
    _Seen(each, nets.present(each, ids.size), *posterior)
    for each, posterior in zip(entries, posteriors, strict=True)
  ]


def _sides(data, ids, n):
  """The auxiliary vectors `[B, A]` of users for each of `n` domains, or None."""
  if data.side is None:
    return [None] * n
  if data.side.ndim == 3:
    return [data.side[:, k][ids] for k in range(n)]
  return [data.side[ids]] * n


def _users(data):
  """All users, in the sources and in the target."""
  return base.Together(
    *(source.by_user for source in data.sources), data.target.by_user
  )


def regularised(params: base.Tree) -> base.Tree:
  """All layers but the outputs: kernels and biases, as in the code."""
  return [
    tree if name == 'link' else nets.regularised(tree) for name, tree in params.items()
  ]

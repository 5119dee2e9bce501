"""SharedVAE for users who are new to the target: Fig. 4, eq. 13-16.

"Latent user linking for cross-domain recommendation" (2019-20, "SharedVAE").
The target's decoder reads the source's latent through a mapping, and nothing of
the target:

  z_m = act(z_S W_m + b_m),   l_T = dec_T(z_m)
  L   = as of `shared_vae` + mapping * mean over users of |z_m - z_T|^2 / Z

so that a user is scored from the source alone. The paper says "tanh for all
layers"; `act` is linear by default, because latents are not bounded. A user
without positives in the target is not trained on. With `side`, the encoders
read an auxiliary vector as well, as in `shared_vae_aux`.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from xdomain import base, nets, wording
from xdomain.models import shared_vae

ACTIVATIONS = {'linear': lambda x: x, 'tanh': jnp.tanh}


class Hyper(NamedTuple):
  lr: float = 1e-3
  beta: float = 1.0  # extra weight of positives, eq. 8
  align: float = 1.0  # eq. 10
  kl: float = 1.0  # eq. 5
  l2: float = 1e-4  # eq. 5
  mapping: float = 1.0  # eq. 16


class Mapping(nn.Module):
  """Eq. 13: `z_m = act(z_S W_m + b_m)`, one layer named `mapping`."""

  latent: int
  activation: nets.Activation

  def setup(self):
    (self.mapping,) = nets.hidden_layers((self.latent,))

  def __call__(self, z_s, z_t):
    del z_t
    return self.activation(self.mapping(z_s))


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  hidden: tuple[int, ...] = (256,),
  latent: int = 128,
  batch: int = 32,
  alignment: str = 'mmd',
  activation: str = 'linear',
  chunk: int | None = None,
  side: tuple[int, ...] = (),
) -> base.Model:
  """The cold-start SharedVAE.

  Args:
    sizes: of the pair.
    hidden: widths of an encoder's hidden layers; a decoder's are reversed.
    latent: latents of a domain, Z.
    batch: users a step, B.
    alignment: one of `shared_vae.ALIGNMENTS`.
    activation: of the mapping, 'linear' or 'tanh'.
    chunk: items of a decoder at a time; None lets their number decide.
    side: widths of the layers of the auxiliary vector; empty without one.
  """
  del sizes
  if activation not in ACTIVATIONS:
    raise ValueError(
      f'activation is {activation!r}{wording.instead(activation, ACTIVATIONS)}'
    )
  link = shared_vae.Link(
    read=Mapping(latent, ACTIVATIONS[activation]),
    loss=lambda read, z_t: jnp.mean((read - z_t) ** 2, axis=1),
    weight=lambda hyper: hyper.mapping,
  )
  return shared_vae.linked(
    link,
    hidden=hidden,
    latent=latent,
    batch=batch,
    alignment=alignment,
    chunk=chunk,
    side=side,
  )

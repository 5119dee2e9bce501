"""SharedVAE with auxiliary user information: Fig. 5.

"Latent user linking for cross-domain recommendation" (2019-20, "SharedVAE"):

  a_* = tanh layers of the user's auxiliary vector t_*
  the heads of encoder * read [h_*, a_*] in place of h_*

Otherwise as `shared_vae`. The vectors are `data.side`: one for both domains, or
one for each (made of a user's reviews there). Where the paper is silent: two
layers, joined before the heads, not reconstructed.
"""

import functools

from xdomain import base
from xdomain.models import shared_vae

Hyper = shared_vae.Hyper


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  hidden: tuple[int, ...] = (256,),
  latent: int = 128,
  batch: int = 32,
  alignment: str = 'mmd',
  chunk: int | None = None,
  side: tuple[int, ...] = (256, 128),
) -> base.Model:
  """SharedVAE with auxiliary vectors.

  Args:
    sizes: of the pair.
    hidden: widths of an encoder's hidden layers; a decoder's are reversed.
    latent: latents of a domain, Z.
    batch: users a step, B.
    alignment: one of `shared_vae.ALIGNMENTS`.
    chunk: items of a decoder at a time; None lets their number decide.
    side: widths of the layers of the auxiliary vector.
  """
  del sizes
  return shared_vae.linked(
    shared_vae.SIDE_BY_SIDE,
    hidden=hidden,
    latent=latent,
    batch=batch,
    alignment=alignment,
    chunk=chunk,
    side=side,
  )

"""FM-AutoRec (ours): a factorisation machine, I-AutoRec and biases, blended.

Three methods that err differently predict a rating:

  m  `fm_cdcf_mcmc` (Loni et al. 2014, sampled as in libFM), which reads the source
  a  I-AutoRec (Sedhain et al. 2015) of the target
  b  mean + b_u + b_i (Koren 2010, eq. 1)

  yhat = autorec a + (1 - autorec) (bias b + (1 - bias) m)

Both shares are hyper-parameters, so that validation chooses them; at their ends one
method is left. The first stage trains the AutoRec, and the second samples: its epochs
are selected by the blend. The logged loss is that of a method alone.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base
from xdomain.models import autorec, bias, fm_cdcf_mcmc

SWEEPS = 20  # alternations of the biases, which then no longer change


class Hyper(NamedTuple):
  autorec: float = 0.4  # share of I-AutoRec
  bias: float = 0.0  # share of the biases in the rest
  lr: float = 1e-3  # of I-AutoRec
  alpha: float = 2e-4  # penalty of I-AutoRec, per observed rating
  centre: float = 1.0  # 1 subtracts a user's mean source rating, 0 as published
  spread: float = 0.1  # standard deviation of the machine's initial factors
  penalty: float = 4.0  # of the biases


def fault(hyper: Hyper) -> str:
  """The fault of hyper-parameters, in a sentence; empty where there is none."""
  for name in ('autorec', 'bias'):
    share = getattr(hyper, name)
    if share > 1:
      return f'{name} is {share:g}; it must be at most 1: it is a share'
  return ''


class Blend(NamedTuple):
  chain: fm_cdcf_mcmc.Chain
  autorec: base.Tree  # the state of the first stage
  bias: bias.Biases
  shares: tuple[base.Array, base.Array]  # [] of I-AutoRec, [] of the biases


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  factors: int = 16,
  samples: int = 100,
  embed: int = 500,
  batch: int = 128,
) -> base.Model:
  """A factorisation machine, I-AutoRec and biases, blended.

  Args:
    sizes: of the pair.
    factors: of each feature of the machine.
    samples: the number of last sweeps that are averaged.
    embed: hidden units of I-AutoRec.
    batch: items of a step of I-AutoRec.
  """
  (gibbs,) = fm_cdcf_mcmc.model(sizes, factors=factors, samples=samples).stages
  (alternate,) = bias.model(sizes).stages
  encoder = autorec.stage(sizes, axis='item', domain='target', embed=embed, batch=batch)

  def of_autorec(hyper):
    return autorec.Hyper(lr=hyper.lr, alpha=hyper.alpha)

  def init_autorec(key, data, hyper, previous):
    return encoder.init(key, data, of_autorec(hyper), previous)

  def step_autorec(state, visit, data, key, hyper):
    return encoder.step(state, visit, data, key, of_autorec(hyper))

  def init(key, data, hyper, previous):
    (first,) = previous
    of_biases = bias.Hyper(hyper.penalty)
    biases = alternate.init(key, data, of_biases, ())
    biases, _ = jax.lax.scan(
      lambda state, _: alternate.step(state, (), data, key, of_biases),
      biases,
      length=SWEEPS,
    )
    shares = jnp.float32(hyper.autorec), jnp.float32(hyper.bias)
    return Blend(gibbs.init(key, data, hyper, ()), first, biases, shares)

  def step(state, visit, data, key, hyper):
    chain, metrics = gibbs.step(state.chain, visit, data, key, hyper)
    return state._replace(chain=chain), metrics

  def predict(state, data):
    machine = gibbs.predict(state.chain, data)
    encoded = encoder.predict(state.autorec, data)
    biased = alternate.predict(state.bias, data)
    of_autorec, of_biases = state.shares

    def score(users, items):
      rest = machine(users, items)
      rest += of_biases * (biased(users, items) - rest)
      return rest + of_autorec * (encoded(users, items) - rest)

    return score

  in_turn = (
    encoder._replace(init=init_autorec, step=step_autorec),
    gibbs._replace(init=init, step=step, predict=predict),
  )
  return base.Model(in_turn, predict)

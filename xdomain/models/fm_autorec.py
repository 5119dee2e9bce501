"""FM-AutoRec (ours): a factorisation machine, I-AutoRec and biases, blended.

Three methods that err differently predict a rating:

  m  `fm_cdcf_mcmc` (Loni et al. 2014, sampled as in libFM), which reads the source
  a  I-AutoRec (Sedhain et al. 2015) of the target
  b  mean + b_u + b_i (Koren 2010, eq. 1)

  yhat = w_a a + w_b b + (1 - w_a - w_b) m

The first stage trains the AutoRec, and the second samples. The third validates every
blend whose weights are fifths, the three methods alone included, and keeps the best.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xdomain import base
from xdomain.models import autorec, bias, fm_cdcf_mcmc

SWEEPS = 20  # alternations of the biases, which then no longer change
PARTS = 5
# [C, 2] weights of I-AutoRec and of the biases; the machine alone is the last.
WEIGHTS = np.array(
  [(a, b) for a in range(PARTS + 1) for b in range(PARTS + 1 - a)][::-1], np.float32
)
WEIGHTS /= PARTS


class Hyper(NamedTuple):
  lr: float = 1e-3  # of I-AutoRec
  alpha: float = 2e-4  # penalty of I-AutoRec, per observed rating
  centre: float = 1.0  # 1 subtracts a user's mean source rating, 0 as published
  spread: float = 0.1  # standard deviation of the machine's initial factors
  penalty: float = 4.0  # of the biases


class Blend(NamedTuple):
  machine: tuple[base.Array, base.Array]  # vectors of users and of items
  autorec: base.Tree  # the state of the first stage
  bias: bias.Biases
  weights: base.Array  # [2] of I-AutoRec and of the biases
  tried: base.Array  # [] blends so far


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
    of_biases = bias.Hyper(hyper.penalty)
    biases = alternate.init(key, data, of_biases, ())
    biases, _ = jax.lax.scan(
      lambda state, _: alternate.step(state, (), data, key, of_biases),
      biases,
      length=SWEEPS,
    )
    encoded, chain = previous
    machine = fm_cdcf_mcmc.tables(chain, data)
    return Blend(machine, encoded, biases, jnp.zeros(2), jnp.int32(0))

  def choose(blend, visit, data, key, hyper):
    del visit, data, key, hyper
    weights = jnp.asarray(WEIGHTS)[blend.tried]
    metrics = {'autorec': weights[0], 'bias': weights[1]}
    return blend._replace(weights=weights, tried=blend.tried + 1), metrics

  def predict(blend, data):
    machine = fm_cdcf_mcmc.scores(*blend.machine)
    encoded = encoder.predict(blend.autorec, data)
    biased = alternate.predict(blend.bias, data)
    of_autorec, of_biases = blend.weights

    def score(users, items):
      m = machine(users, items)
      of_others = of_autorec * (encoded(users, items) - m)
      return m + of_others + of_biases * (biased(users, items) - m)

    return score

  stages = (
    encoder._replace(init=init_autorec, step=step_autorec),
    gibbs,
    base.Stage(
      init, base.one_visit, choose, predict, name='blend', choices=len(WEIGHTS)
    ),
  )
  return base.Model(stages, predict)

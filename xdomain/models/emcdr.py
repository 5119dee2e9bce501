"""EMCDR: a mapping from a user's factors in the source to those in the target.

Man, Shen, Jin and Cheng, IJCAI 2017, with the factors of BPR. Three stages:

  1. U_s, V_s by BPR on the source
  2. U_t, V_t by BPR on the target, both without biases
  3. f(x) = tanh(x W1 + b1) W2 + b2, by plain gradient descent on
     J = mean over shared users of |f(U_s,u) - U_t,u|^2
         + penalty_mapping (|W1|^2 + |W2|^2), all factors frozen

and the score is <f(U_s,u), V_t,i>. Shared users have positives in both domains.
`mapped='all'` maps every user with positives in the source; 'cold_only' maps
those of them without any in the target, and the others keep U_t. Both BPRs keep
their last epoch: the ranking by U_t says little about how U_t serves the
mapping, and nothing where all queries are of new users. In stage 3 the metric
`ratings` counts users.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import optax

from xdomain import base, nets, stages, wording
from xdomain.models import bpr
from xdomain.ops import losses, sampling

MAPPED = ('all', 'cold_only')


class Hyper(NamedTuple):
  lr: float = 0.05  # of both BPRs
  penalty_user: float = 0.0025  # r_u of both
  penalty_item: float = 0.0025  # r_i of both
  penalty_negative: float = 0.00025  # r_j of both
  lr_mapping: float = 0.03
  penalty_mapping: float = 0.0


class Frozen(NamedTuple):
  """The frozen inputs of the mapping."""

  source: base.Array  # U_s [U, H]
  target: base.Array  # U_t [U, H]
  item: base.Array  # V_t [T, H]
  mapped: base.Array  # [U] bool, True where f replaces U_t


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  factors: int = 20,
  hidden: int = 40,
  mapped: str = 'all',
  batch: int = 256,
  batch_mapping: int = 16,
) -> base.Model:
  """EMCDR.

  Args:
    sizes: of the pair.
    factors: length of a user's or an item's vector, H.
    hidden: units of the mapping's hidden layer; in the paper 2 H.
    mapped: whose vectors are mapped, 'all' or 'cold_only'.
    batch: triples a step of both BPRs.
    batch_mapping: users a step of the mapping.
  """
  if mapped not in MAPPED:
    raise ValueError(f'mapped is {mapped!r}{wording.instead(mapped, MAPPED)}')
  settings = dict(factors=factors, bias='none', batch=batch)
  network = nets.MLP((hidden,), factors)

  def init(key, data, hyper, previous):
    del hyper
    source, target = previous
    known = data.source.by_user.length > 0
    if mapped == 'cold_only':
      known &= data.target.by_user.length == 0
    frozen = Frozen(source.user, target.user, target.item.vector, known)
    return nets.init(network, key, source.user[:1]), frozen

  def epoch(key, data):
    shared = shared_users(data)
    ids = sampling.shuffled(key, shared.size, batch_mapping)
    return shared.at[ids].get(mode='fill', fill_value=sizes.users)

  def loss(params, frozen, visit, data, key, hyper):
    del data, key
    n = frozen.source.shape[0]
    weight = (visit < n).astype(frozen.source.dtype)
    user = jnp.minimum(visit, n - 1)
    mapping = nets.apply(network, params, frozen.source[user])
    count = jnp.sum(weight)
    distances = jnp.sum((mapping - frozen.target[user]) ** 2, axis=1)
    distance = weight @ distances / jnp.maximum(count, 1)
    kernels = [layer['kernel'] for layer in params.values()]
    penalty = losses.ridge(kernels, hyper.penalty_mapping)
    return distance + penalty, {'ratings': count}

  def as_bpr(params, frozen):
    """BPR's parameters whose users are vectors in the target's space."""
    vectors = nets.apply(network, params, frozen.source)
    users = jnp.where(frozen.mapped[:, None], vectors, frozen.target)
    return bpr.Params(users, bpr.Items(frozen.item, None))

  def predict(state, data):
    del data
    return functools.partial(bpr.score, as_bpr(state.params, state.frozen))

  def predict_all(state, data):
    return bpr.predict_all(as_bpr(state.params, state.frozen), data)

  last = stages.gradient_stage(
    init, loss, epoch, tx=optax.identity(), predict=predict, name='mapping'
  )
  in_turn = (
    _bpr('source', **settings),
    _bpr('target', **settings),
    last._replace(step=_with(last.step, _of_mapping)),
  )
  return base.Model(in_turn, last.predict, predict_all=predict_all)


def _bpr(domain, **settings):
  """BPR on a domain, which is not validated."""
  stage = bpr.stage(domain=domain, **settings)
  return stage._replace(step=_with(stage.step, _of_bpr), predict=None)


def _with(step, part):
  """The step of a stage, with its `part` of the hyper-parameters."""

  def narrowed(state, visit, data, key, hyper):
    return step(state, visit, data, key, part(hyper))

  return narrowed


def _of_bpr(hyper):
  return bpr.Hyper(
    hyper.lr, hyper.penalty_user, hyper.penalty_item, hyper.penalty_negative
  )


def _of_mapping(hyper):
  return hyper._replace(lr=hyper.lr_mapping)


def shared_users(data: base.Arrays):
  """`[N]` ids of the users with positives in both domains, padded with id `U`.

  Raises:
    Unfit: there are none.
  """
  source, target = data.source.by_user, data.target.by_user
  if not target.shared:
    raise base.Unfit(
      'emcdr learns from users with positives in both domains, and there are none'
    )
  shared = jnp.minimum(source.length, target.length)
  return jnp.flatnonzero(shared, size=target.shared, fill_value=shared.size)

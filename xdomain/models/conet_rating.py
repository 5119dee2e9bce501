"""CoNet for ratings: two towers that pass each other their hidden layers.

The network of Hu, Zhang and Yang, CIKM 2018 (`conet`), with one linear output:

  a_d    = [P_u ; Q_d,i]
  a_d   <- relu(a_d W_dl + b_dl + open a_other H_l)
  yhat_d = mean_d + <a_d, o_d> + b_d

  J = source MSE_source + target MSE_target + l1 sum_l |H_l|_1 + l2 |theta|^2

where a batch pays only the penalties of the parameters that it trains.

Departures: the paper ranks, by cross entropy against sampled negatives; this
file predicts ratings, without an example for a pair that was not observed.
`pairing='user'` gives each target rating one source rating of the same user,
drawn anew each epoch; `open` is 0 for a user who has none. 'random' is the
authors' code: the towers see different users, and the larger domain's surplus
batches, first in an epoch, train its tower alone.

The authors predict by the target tower alone, for which joint training never
prepares it; so `open` is 0 for a whole batch with probability `drop_cross`
(theirs: 0).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, nets, stages
from xdomain.data.types import PerDomain
from xdomain.models import conet
from xdomain.ops import losses, sparse


class Hyper(NamedTuple):
  lr: float = 1e-3
  source: float = 1.0  # weight of the source's ratings
  target: float = 1.0  # weight of the target's ratings
  l1: float = 0.01  # of the cross matrices, as SCoNet's
  l2: float = 1e-6  # of all parameters
  drop_cross: float = 0.5  # share of the batches without cross matrices


PAIRINGS = {'user': conet.same_user, 'random': conet.independent}
INFERENCES = ('tower', 'joint')


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  embed: int = 32,
  layers: tuple[int, ...] = (32, 16, 8),
  cross_layers: int = 2,
  pairing: str = 'user',
  inference: str = 'tower',
  batch: int = 128,
) -> base.Model:
  """CoNet, rating version.

  Args:
    sizes: of the pair.
    embed: width of the tables; a tower's input is twice as wide.
    layers: widths of a tower's layers.
    cross_layers: how many of them, from below, receive from the other tower.
    pairing: 'user' or 'random', which ratings a step sees side by side.
    inference: 'tower', the target tower alone; or 'joint', both of them, where
      the user's mean source item stands for a source item.
    batch: ratings a step, of each domain.
  """
  conet.check(
    cross_layers,
    layers,
    pairing=(pairing, PAIRINGS),
    inference=(inference, INFERENCES),
  )
  network = conet.CoNet(sizes, embed, tuple(layers), cross_layers, 1, nets.he)

  def init(key, data, hyper, previous):
    del hyper, previous
    levels = PerDomain(data.source.by_user.mean(), data.target.by_user.mean())
    return conet.start(network, key), levels

  def epoch(key, data):
    source, target = data.source.by_user, data.target.by_user
    return PAIRINGS[pairing](key, source, target, batch)

  def loss(params, levels, visit, data, key, hyper):
    events = PerDomain(
      data.source.by_user.events(visit.source),
      data.target.by_user.events(visit.target),
    )
    inputs = PerDomain(
      *(
        conet.joined(params, domain, each.row, each.column)
        for domain, each in events._asdict().items()
      )
    )
    crossing = jax.random.bernoulli(key, 1 - hyper.drop_cross)
    open = crossing * events.source.weight * events.target.weight
    outputs = nets.apply(network, params, inputs, open)
    mse = PerDomain(*map(_mean_squared_error, levels, outputs, events))
    value = (
      hyper.source * mse.source
      + hyper.target * mse.target
      + _penalty(params, events, hyper)
    )
    # A batch without a domain's ratings counts as 0 in the means of these.
    return value, {
      'mse': mse.target,
      'mse_source': mse.source,
      'ratings': sum(jnp.sum(e.weight) for e in events),
    }

  def alone(params, levels, domain):
    """The score of one tower without the other."""
    tower, level = network.tower(domain), getattr(levels, domain)
    score = nets.tower_scores(tower, params[domain], params['user'], nets.only)
    return lambda users, items: level + score(users, items)

  def predict(state, data):
    params = _without_unvisited(state.params, data, pairing)
    if inference == 'joint':
      return _joint(network, params, state.frozen, data)
    return alone(params, state.frozen, 'target')

  def predict_source(state, data):
    params = _without_unvisited(state.params, data, pairing)
    return alone(params, state.frozen, 'source')

  stage = stages.gradient_stage(init, loss, epoch, predict=predict)
  return base.Model(
    (stage,),
    stage.predict,
    predict_source=predict_source,
    target_only=pairing == 'user' and inference == 'tower',
  )


def _penalty(params, events, hyper):
  """The penalty of the towers that a batch trains, as Adam scales any gradient up."""
  seen = PerDomain(*(jnp.max(e.weight) for e in events))  # 0 or 1
  both = seen.source * seen.target
  return (
    losses.ridge(params['user'], hyper.l2)
    + losses.ridge(params['source'], hyper.l2 * seen.source)
    + losses.ridge(params['target'], hyper.l2 * seen.target)
    + losses.ridge(conet.cross_matrices(params), hyper.l2 * both)
    + hyper.l1 * both * conet.lasso(params)
  )


def _mean_squared_error(level, output, events):
  error = events.weight * (level + nets.only(output) - events.value)
  return jnp.sum(error**2) / jnp.maximum(jnp.sum(events.weight), 1)


def _without_unvisited(params, data, pairing):
  """The parameters with zero rows for the ids that training never visits."""
  users = data.target.by_user.length
  if pairing == 'random':
    users += data.source.by_user.length
  items = {
    'source': data.source.by_item.length,
    'target': data.target.by_item.length,
  }
  towers = {
    name: params[name] | {'item': conet.where_seen(count, params[name]['item'])}
    for name, count in items.items()
  }
  return params | towers | {'user': conet.where_seen(users, params['user'])}


def _joint(network, params, levels, data):
  """The score of the target tower beside the source tower."""
  source = data.source.by_user
  mean = _mean_items(source, params['source']['item'])
  beside = params | {'source': params['source'] | {'item': mean}}
  known = (source.length > 0).astype(mean.dtype)

  def rate(users, items):
    users, items = jnp.broadcast_arrays(users, items)
    inputs = PerDomain(
      conet.joined(beside, 'source', users, users),  # Of mean items, by user.
      conet.joined(params, 'target', users, items),
    )
    flat = jax.tree.map(lambda x: x.reshape(users.size, -1), inputs)
    output = nets.apply(network, params, flat, known[users].reshape(-1)).target
    return levels.target + output.reshape(users.shape)

  return base.oriented('user', rate)


def _mean_items(rows, table):
  """`[U, embed]` the mean of the table's rows that each user has rated."""

  def mean(users):
    entries = nets.indicators(rows.entries(users))
    total = sparse.gather_sum(table, entries, users.size)
    return total / jnp.maximum(nets.counts(entries, users.size), 1)[:, None]

  return rows.for_all(mean)

"""CoNet for ratings: two towers that pass each other what they see.

Hu, Zhang and Yang, CIKM 2018. A tower a domain, over a shared user table; its
layer `l` also receives what the other tower's layer has, through one matrix
`H_l` for both directions, in the first layers:

  a_d    = [P_u ; Q_d,i]
  a_d   <- relu(a_d W_dl + b_dl + open a_other H_l)
  yhat_d = mean_d + <a_d, o_d> + b_d

  J = source MSE_source + target MSE_target + l1 sum_l |H_l|_1 + l2 |theta|^2

where a batch pays the penalties of what it trains only.

The paper ranks, by cross entropy against sampled negatives; this predicts
ratings: the output is linear, and nothing stands for a pair not observed.
`pairing='user'` gives each target rating one source rating of the same user,
drawn anew each epoch; `open` is 0 for a user who has none. 'random' is the
authors' code: the towers see different users, and the larger domain's surplus
batches, first in an epoch, train its tower alone.

The authors ask the target tower alone, which joint training never prepares it
for; so `open` is 0 for a whole batch with probability `drop_cross` (theirs: 0).
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, stages, wording
from xdomain.ops import losses, sparse


class Hyper(NamedTuple):
  lr: float = 1e-3
  source: float = 1.0  # weight of the source's ratings
  target: float = 1.0  # weight of the target's ratings
  l1: float = 0.01  # of the cross matrices, as SCoNet's
  l2: float = 1e-6  # of all parameters
  drop_cross: float = 0.5  # share of the batches without cross matrices


class Both(NamedTuple):
  """One thing for each domain."""

  source: Any
  target: Any


class Layer(NamedTuple):
  kernel: base.Array  # W [in, out], or o [in]
  bias: base.Array  # b [out], or []


class Tower(NamedTuple):
  item: base.Array  # Q_d [items, embed]
  layers: tuple[Layer, ...]
  output: Layer


class Params(NamedTuple):
  user: base.Array  # P [U, embed]
  towers: Both  # of Tower
  cross: tuple[base.Array, ...]  # H_l [in, out]


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
  _check_choice('pairing', pairing, PAIRINGS)
  _check_choice('inference', inference, INFERENCES)
  if cross_layers > len(layers):
    raise ValueError(f'cross_layers is {cross_layers} of {len(layers)} layers')
  widths = (2 * embed, *layers)

  def init(key, data, hyper, previous):
    del hyper, previous
    levels = Both(data.source.by_user.mean(), data.target.by_user.mean())
    return init_params(key, sizes, widths, cross_layers), levels

  def epoch(key, data):
    source, target = data.source.by_user, data.target.by_user
    return PAIRINGS[pairing](key, source, target, batch)

  def predict(state, data):
    params = _without_unvisited(state.params, data, pairing)
    return INFERENCES[inference](params, state.frozen, data)

  def predict_source(state, data):
    params = _without_unvisited(state.params, data, pairing)
    return _alone(params, state.frozen, 'source')

  stage = stages.gradient_stage(init, _loss, epoch, predict=predict)
  return base.Model(
    (stage,),
    stage.predict,
    predict_source=predict_source,
    target_only=pairing == 'user' and inference == 'tower',
  )


def _check_choice(name, value, known):
  if value not in known:
    raise ValueError(f'{name} is {value!r}{wording.instead(value, known)}')


def init_params(key, sizes, widths, cross_layers) -> Params:
  """Tables and cross matrices as the authors', layers by He's rule.

  Theirs are all N(0, .01), biases too; on MovieLens the target tower's units
  then die, and it predicts the mean.
  """
  key, user, source, target = jax.random.split(key, 4)

  def table(key, rows):
    return 0.01 * jax.random.normal(key, (rows, widths[0] // 2))

  def tower(key, items):
    key, *keys = jax.random.split(key, len(widths) + 1)
    shapes = *itertools.pairwise(widths), widths[-1:]
    layers = [
      Layer(_he(k, shape), jnp.zeros(shape[1:])) for k, shape in zip(keys, shapes)
    ]
    return Tower(table(key, items), tuple(layers[:-1]), layers[-1])

  towers = Both(tower(source, sizes.source), tower(target, sizes.target))
  shapes = list(itertools.pairwise(widths))[:cross_layers]
  keys = jax.random.split(key, cross_layers)
  cross = tuple(0.01 * jax.random.normal(k, s) for k, s in zip(keys, shapes))
  return Params(table(user, sizes.users), towers, cross)


def _he(key, shape):
  return jnp.sqrt(2 / shape[0]) * jax.random.normal(key, shape)


def same_user(key, source, target, batch):
  """Entry ids `([N, B], [N, B])`: a target rating, one source rating beside it.

  Where the user has no source rating, that id is padding.
  """
  key, key_source = jax.random.split(key)
  ids = target.shuffled(key, batch)
  users = target.events(ids).row
  length = source.length[users]
  chosen = jax.random.randint(key_source, ids.shape, 0, jnp.maximum(length, 1))
  real = (length > 0) & (ids < target.n_entries)
  chosen = jnp.where(real, source.start[users] + chosen, source.n_entries)
  return Both(chosen, ids)


def independent(key, source, target, batch):
  """Entry ids `([N, B], [N, B])` of each domain, each once, in its own order.

  The smaller domain is padding in the first batches.
  """
  keys = jax.random.split(key)
  ids = [rows.shuffled(k, batch) for k, rows in zip(keys, (source, target))]
  n = max(x.shape[0] for x in ids)
  return Both(
    *(
      jnp.pad(x, ((n - x.shape[0], 0), (0, 0)), constant_values=rows.n_entries)
      for x, rows in zip(ids, (source, target))
    )
  )


PAIRINGS = {'user': same_user, 'random': independent}


def _loss(params, levels, visit, data, key, hyper):
  events = Both(
    data.source.by_user.events(visit.source),
    data.target.by_user.events(visit.target),
  )
  crossing = jax.random.bernoulli(key, 1 - hyper.drop_cross)
  open = crossing * events.source.weight * events.target.weight
  inputs = Both(
    joined(params, 'source', events.source.row, events.source.column),
    joined(params, 'target', events.target.row, events.target.column),
  )
  outputs = together(params, inputs, open)
  mse = Both(*map(_mse, levels, outputs, events))
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


def _penalty(params, events, hyper):
  """Of what the batch trains; Adam would run away with a penalty alone."""
  seen = Both(*(jnp.max(e.weight) for e in events))  # 0 or 1
  both = seen.source * seen.target
  return (
    losses.ridge(params.user, hyper.l2)
    + losses.ridge(params.towers.source, hyper.l2 * seen.source)
    + losses.ridge(params.towers.target, hyper.l2 * seen.target)
    + losses.ridge(params.cross, hyper.l2 * both)
    + hyper.l1 * both * sum(jnp.sum(jnp.abs(h)) for h in params.cross)
  )


def _mse(level, output, events):
  error = events.weight * (level + output - events.value)
  return jnp.sum(error**2) / jnp.maximum(jnp.sum(events.weight), 1)


def joined(params, domain, users, items):
  """`[..., 2 embed]` what a tower begins with; ids broadcast."""
  users, items = jnp.broadcast_arrays(users, items)
  table = getattr(params.towers, domain).item
  return jnp.concatenate([params.user[users], table[items]], axis=-1)


def together(params, a, open):
  """`[...]` outputs of both towers, connected where `open` is 1."""
  for depth, layers in enumerate(zip(*(t.layers for t in params.towers))):
    z = Both(*map(_affine, a, layers))
    if depth < len(params.cross):
      h = params.cross[depth]
      z = Both(
        z.source + open[..., None] * (a.target @ h),
        z.target + open[..., None] * (a.source @ h),
      )
    a = Both(*map(jax.nn.relu, z))
  return Both(*(_affine(x, t.output) for x, t in zip(a, params.towers)))


def _affine(x, layer):
  return x @ layer.kernel + layer.bias


def _without_unvisited(params, data, pairing):
  """The parameters with zero rows for the ids that training never visits."""
  users = data.target.by_user.length
  if pairing == 'random':
    users += data.source.by_user.length
  towers = (
    tower._replace(item=_where_seen(domain.by_item.length, tower.item))
    for domain, tower in zip((data.source, data.target), params.towers)
  )
  return params._replace(user=_where_seen(users, params.user), towers=Both(*towers))


def _where_seen(count, table):
  return jnp.where(count[:, None] > 0, table, 0)


def _alone(params, levels, domain):
  """The score of one tower without the other."""
  tower, level = getattr(params.towers, domain), getattr(levels, domain)

  def rate(users, items):
    a = joined(params, domain, users, items)
    for layer in tower.layers:
      a = jax.nn.relu(_affine(a, layer))
    return level + _affine(a, tower.output)

  return base.oriented('user', rate)


def _target_alone(params, levels, data):
  del data
  return _alone(params, levels, 'target')


def _joint(params, levels, data):
  """The score of the target tower beside the source tower."""
  source = data.source.by_user
  mean = _mean_items(source, params.towers.source.item)
  tower = params.towers.source._replace(item=mean)
  params = params._replace(towers=params.towers._replace(source=tower))
  known = (source.length > 0).astype(mean.dtype)

  def rate(users, items):
    inputs = Both(
      joined(params, 'source', users, users),  # Of mean items, by user.
      joined(params, 'target', users, items),
    )
    return levels.target + together(params, inputs, known[users]).target

  return base.oriented('user', rate)


def _mean_items(rows, table):
  """`[U, embed]` the mean of the table's rows that each user has rated."""

  def mean(users):
    entries = rows.entries(users)
    ones = entries._replace(value=entries.weight)
    total = sparse.gather_sum(table, ones, users.shape[0])
    count = jax.ops.segment_sum(entries.weight, entries.segment, users.shape[0])
    return total / jnp.maximum(count, 1)[:, None]

  return rows.for_all(mean)


INFERENCES = {'tower': _target_alone, 'joint': _joint}

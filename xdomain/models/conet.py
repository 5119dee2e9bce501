"""CoNet and SCoNet: two networks that pass each other their hidden layers.

Hu, Zhang and Yang, CIKM 2018, for 0/1 interactions. Each domain has a tower,
over a user table that both share; in the first layers, layer `l` of a tower
also receives the other tower's layer, through one matrix `H_l` for both
directions:

  a_d  = [P_u ; Q_d,i]
  a_d <- relu(a_d W_dl + b_dl + a_other H_l)
  o_d  = a_d O_d + c_d,   two columns;   p = softmax(o_d)_0

  J = CE_T + source CE_S + l1 sum_l |H_l|_1

with the means over a batch of the two domains' cross entropies; `l1` makes it
SCoNet. An example is a positive, or one item drawn for it from those that the
user has not interacted with. A positive and its negative are in the same batch.

The schedule is the authors': the larger domain's surplus batches come first,
through its tower alone, then joint ones until both domains are through.
`pairing='independent'` is theirs too: the towers see different users, and
labels. 'same_user' draws a source example of the target example's user, as the
text suggests; a user without target interactions is then never visited. Scores
come from the target's tower alone, as in the authors' code, because a query has
no source item.

Departures: one optimiser in place of three, one a kind of batch; and hidden
layers by He's rule, because under the authors' N(0, .01^2) for all, biases too,
both towers' units die at the rates that are best here, and all items tie.
"""

import functools
from collections.abc import Collection
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from xdomain import base, nets, stages, wording
from xdomain.data.types import PerDomain
from xdomain.models import mlp

CLIP = 10.0  # Norm of a tensor's gradient, summed over the examples.


class Hyper(NamedTuple):
  lr: float = 1e-3
  source: float = 1.0  # weight of the source's examples
  l1: float = 0.0  # of the cross matrices; SCoNet's is .1


class CoNet(nn.Module):
  """The table `user`, the towers `source` and `target`, and `cross_0, ...`.

  Attributes:
    sizes: of the pair.
    embed: width of the tables.
    widths: of a tower's layers.
    cross_layers: how many of them, from below, receive from the other tower.
    outputs: of a tower.
    output_init: initialises the kernels of the outputs.
  """

  sizes: base.Sizes
  embed: int
  widths: tuple[int, ...]
  cross_layers: int
  outputs: int = 2
  output_init: nets.Initializer = nn.initializers.he_normal()

  def setup(self):
    self.user = self.param('user', nets.small, (self.sizes.users, self.embed))
    self.source = self.tower('source')
    self.target = self.tower('target')
    self.cross = [
      nn.Dense(width, use_bias=False, kernel_init=nets.small)
      for width in self.widths[: self.cross_layers]
    ]

  @nn.nowrap
  def tower(self, domain: str) -> nets.Tower:
    """The tower of a domain, to be applied to `params[domain]`."""
    return nets.Tower(
      getattr(self.sizes, domain),
      self.embed,
      self.widths,
      self.outputs,
      nets.he,
      self.output_init,
    )

  def __call__(self, inputs: PerDomain, open: base.Array) -> PerDomain:
    """`[B, outputs]` of both towers.

    Args:
      inputs: `[B, 2 embed]` of each domain, as from `joined`.
      open: `[B]` 1 where the towers are connected.
    """
    chex.assert_shape(inputs, (*open.shape, 2 * self.embed))
    a, towers = inputs, PerDomain(self.source, self.target)
    for depth, layers in enumerate(zip(*(tower.hidden for tower in towers))):
      z = [layer(x) for layer, x in zip(layers, a)]
      if depth < self.cross_layers:
        received = [self.cross[depth](x) for x in reversed(a)]
        z = [x + open[:, None] * other for x, other in zip(z, received)]
      a = [nn.relu(x) for x in z]
    return PerDomain(*(tower.output(x) for tower, x in zip(towers, a)))


def start(network: CoNet, key: base.Array) -> base.Tree:
  """Fresh parameters."""
  nothing = jnp.zeros((1, 2 * network.embed))
  return nets.init(network, key, PerDomain(nothing, nothing), jnp.ones(1))


def joined(
  params: base.Tree, domain: str, users: base.Array, items: base.Array
) -> base.Array:
  """`[..., 2 embed]` the input of a tower; ids broadcast."""
  users, items = jnp.broadcast_arrays(users, items)
  rows = params['user'][users], params[domain]['item'][items]
  return jnp.concatenate(rows, axis=-1)


def cross_matrices(params: base.Tree) -> list[base.Array]:
  """The matrices H_l."""
  return [tree['kernel'] for name, tree in params.items() if name.startswith('cross_')]


def lasso(params: base.Tree) -> base.Array:
  """The penalty `sum_l |H_l|_1`."""
  return jnp.sum(jnp.stack([jnp.sum(jnp.abs(h)) for h in cross_matrices(params)]))


def same_user(
  key: base.Array, source: base.Rows, target: base.Rows, batch: int
) -> PerDomain:
  """Entry ids `([N, B], [N, B])`: a target entry, beside it one of the source.

  The source entry is drawn from the user's. Where the user has none, its id is
  padding.
  """
  key, key_source = jax.random.split(key)
  ids = target.shuffled(key, batch)
  users = target.events(ids).row
  length = source.length[users]
  chosen = jax.random.randint(key_source, ids.shape, 0, jnp.maximum(length, 1))
  real = (length > 0) & (ids < target.n_entries)
  chosen = jnp.where(real, source.start[users] + chosen, source.n_entries)
  return PerDomain(chosen, ids)


def independent(
  key: base.Array, source: base.Rows, target: base.Rows, batch: int
) -> PerDomain:
  """Entry ids `([N, B], [N, B])` of each domain, each once, in its own order.

  The smaller domain is padding in the first batches.
  """
  keys = jax.random.split(key)
  ids = [rows.shuffled(k, batch) for k, rows in zip(keys, (source, target))]
  n = max(x.shape[0] for x in ids)
  return PerDomain(
    *(
      jnp.pad(x, ((n - x.shape[0], 0), (0, 0)), constant_values=rows.n_entries)
      for x, rows in zip(ids, (source, target))
    )
  )


PAIRINGS = {'independent': independent, 'same_user': same_user}


class Examples(NamedTuple):
  """K items of each of B users of a domain; padding has weight 0."""

  user: base.Array  # [B]
  item: base.Array  # [B, K]
  label: base.Array  # [B, K] bool
  weight: base.Array  # [B]


def check(
  cross_layers: int, layers: tuple[int, ...], **choices: tuple[str, Collection[str]]
) -> None:
  """Raises a ValueError for a setting that is not known.

  Args:
    cross_layers: at most as many as there are layers.
    layers: widths of a tower's layers.
    **choices: `(value, known values)` by name.
  """
  for name, (value, known) in choices.items():
    if value not in known:
      raise ValueError(f'{name} is {value!r}{wording.instead(value, known)}')
  if cross_layers > len(layers):
    raise ValueError(f'cross_layers is {cross_layers} of {len(layers)} layers')


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  embed: int = 32,
  layers: tuple[int, ...] = (32, 16, 8),
  cross_layers: int = 2,
  pairing: str = 'independent',
  batch: int = 64,
) -> base.Model:
  """CoNet.

  Args:
    sizes: of the pair.
    embed: width of the tables; a tower's input is twice as wide.
    layers: widths of a tower's layers.
    cross_layers: how many of them, from below, receive from the other tower.
    pairing: 'independent' or 'same_user', what a step sees side by side.
    batch: positives a step, of each domain; twice as many examples.
  """
  check(cross_layers, layers, pairing=(pairing, PAIRINGS))
  network = CoNet(sizes, embed, tuple(layers), cross_layers)

  def init(key, data, hyper, previous):
    del data, hyper, previous
    return start(network, key), ()

  def epoch(key, data):
    source, target = data.source.by_user, data.target.by_user
    return PAIRINGS[pairing](key, source, target, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    rows = PerDomain(data.source.by_user, data.target.by_user)
    shown = PerDomain(*map(examples, jax.random.split(key), rows, visit))
    larger, smaller = by_size(rows, pairing)
    missing = jnp.all(getattr(shown, smaller).weight == 0)
    alone = functools.partial(errors_alone, network, larger)
    jointly = functools.partial(errors_jointly, network)
    errors, penalty = jax.lax.cond(missing, alone, jointly, params, shown)
    value = errors.target + hyper.source * errors.source + hyper.l1 * penalty
    # A batch without a domain's examples counts as 0 in the means of these.
    return value, {
      'target': errors.target,
      'source': errors.source,
      'ratings': sum(jnp.sum(each.weight) for each in shown),
    }

  def scored(scores, state, data):
    params, visited = state.params, data.target.by_user.length
    if pairing == 'independent':
      visited += data.source.by_user.length
    user = where_seen(visited, params['user'])
    return scores(network.tower('target'), params['target'], user, difference)

  predict = functools.partial(scored, nets.tower_scores)
  predict_all = functools.partial(scored, nets.all_tower_scores)

  stage = stages.gradient_stage(
    init,
    loss,
    epoch,
    predict=predict,
    tx=optax.chain(clipped(CLIP / (2 * batch)), optax.scale_by_adam()),
  )
  return base.Model(
    (stage,),
    stage.predict,
    predict_all=predict_all,
    target_only=pairing == 'same_user',
  )


def where_seen(count: base.Array, table: base.Array) -> base.Array:
  """The table with zero rows for the ids that training never visits."""
  return jnp.where(count[:, None] > 0, table, 0)


def difference(outputs: base.Array) -> base.Array:
  """The logit of the first of two outputs `[..., 2]`."""
  return outputs[..., 0] - outputs[..., 1]


def clipped(norm: float) -> optax.GradientTransformation:
  """Scales the gradient of every tensor down to at most this norm."""

  def clip(gradient, _):
    length = jnp.sqrt(jnp.sum(gradient**2))
    return gradient * norm / jnp.maximum(length, norm)

  return optax.stateless_with_tree_map(clip)


def by_size(rows: PerDomain, pairing: str) -> tuple[str, str]:
  """The name of the domain that has batches of its own, and of the other."""
  more = rows.source.n_entries > rows.target.n_entries
  if pairing == 'independent' and more:
    return 'source', 'target'
  return 'target', 'source'


def examples(key: base.Array, rows: base.Rows, ids: base.Array) -> Examples:
  """Entries `[B]` and a negative beside each, in random order.

  Those of a user who lacks no item weigh 0.
  """
  key_item, key_order = jax.random.split(key)
  events = rows.events(ids)
  absent, any_ = rows.negatives(key_item, events.row)
  first = jax.random.bernoulli(key_order, shape=ids.shape)[:, None]
  item = jnp.concatenate([events.column[:, None], absent], axis=1)
  label = jnp.concatenate([first, ~first], axis=1)
  item = jnp.where(first, item, item[:, ::-1])
  return Examples(events.row, item, label, events.weight * any_)


def errors_jointly(network: CoNet, params: base.Tree, shown: PerDomain):
  """Cross entropies of connected towers, and the lasso's penalty."""
  errors = [
    mlp.cross_entropy(difference(o), each.label, each.weight[:, None])
    for o, each in zip(outputs(network, params, shown), shown)
  ]
  return PerDomain(*errors), lasso(params)


def errors_alone(network: CoNet, domain: str, params: base.Tree, shown: PerDomain):
  """The same of one domain's tower alone, and no penalty."""
  own = getattr(shown, domain)
  logits = logits_alone(network, domain, params, own.user, own.item)
  error = mlp.cross_entropy(logits, own.label, own.weight[:, None])
  nothing = jnp.zeros_like(error)
  return PerDomain(nothing, nothing)._replace(**{domain: error}), nothing


def logits_alone(
  network: CoNet, domain: str, params: base.Tree, users: base.Array, items: base.Array
):
  """`[B, K]` by one domain's tower, of users `[B]` and items `[B, K]`."""
  tower = network.tower(domain)
  return difference(nets.apply(tower, params[domain], params['user'], users, items))


def outputs(network: CoNet, params: base.Tree, shown: PerDomain) -> PerDomain:
  """`[B, K, 2]` of both towers, connected where both domains have an example."""
  open = shown.source.weight * shown.target.weight
  open = jnp.broadcast_to(open[:, None], shown.target.item.shape)
  flat = PerDomain(
    *(
      joined(params, domain, each.user[:, None], each.item).reshape(open.size, -1)
      for domain, each in shown._asdict().items()
    )
  )
  result = nets.apply(network, params, flat, open.reshape(-1))
  return jax.tree.map(lambda x: x.reshape(*open.shape, 2), result)

"""CoNet and SCoNet: two networks that pass each other what they see.

Hu, Zhang and Yang, CIKM 2018, for what people like. A tower a domain, over a
shared user table; layer `l` also receives what the other tower's layer has,
through one matrix `H_l` for both directions, in the first layers:

  a_d  = [P_u ; Q_d,i]
  a_d <- relu(a_d W_dl + b_dl + a_other H_l)
  o_d  = a_d O_d + c_d,   two columns;   p = softmax(o_d)_0

  J = CE_T + source CE_S + l1 sum_l |H_l|_1

the means over a batch of the two domains' cross entropies; `l1` makes it
SCoNet. An example is a positive, or one item drawn for it from those that the
user has no event with. A positive and its negative are in the same batch.

The schedule is the authors': the larger domain's surplus batches come first,
through its tower alone, then joint ones until both domains are through.
`pairing='independent'` is theirs too: the towers see different users, and
labels. 'same_user' draws a source example of the target example's user, as the
text suggests; who has no target events is then never visited. Asked is the
target's tower alone, as by the authors, for there is no source item to show.

Theirs are three optimisers, one a kind of batch; here it is one.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from xdomain import base, nets, stages, wording
from xdomain.models import conet_rating, mlp
from xdomain.models.conet_rating import Both, Layer, Params

PAIRINGS = {
  'independent': conet_rating.independent,
  'same_user': conet_rating.same_user,
}
he = jax.nn.initializers.he_normal()
CLIP = 10.0  # Norm of a tensor's gradient, summed over the examples.


class Hyper(NamedTuple):
  lr: float = 1e-3
  source: float = 1.0  # weight of the source's examples
  l1: float = 0.0  # of the cross matrices; SCoNet's is .1


class Examples(NamedTuple):
  """Some of a domain's: K items of each of B users; padding has weight 0."""

  user: base.Array  # [B]
  item: base.Array  # [B, K]
  label: base.Array  # [B, K] bool
  weight: base.Array  # [B]


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
  if pairing not in PAIRINGS:
    raise ValueError(f'pairing is {pairing!r}{wording.instead(pairing, PAIRINGS)}')
  if cross_layers > len(layers):
    raise ValueError(f'cross_layers is {cross_layers} of {len(layers)} layers')
  widths = (2 * embed, *layers)

  def init(key, data, hyper, previous):
    del data, hyper, previous
    return init_params(key, sizes, widths, cross_layers), ()

  def epoch(key, data):
    source, target = data.source.by_user, data.target.by_user
    return PAIRINGS[pairing](key, source, target, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    rows = Both(data.source.by_user, data.target.by_user)
    shown = Both(*map(examples, jax.random.split(key), rows, visit))
    larger, smaller = by_size(rows, pairing)
    missing = jnp.all(getattr(shown, smaller).weight == 0)
    alone = functools.partial(errors_alone, larger)
    errors, lasso = jax.lax.cond(missing, alone, errors_jointly, params, shown)
    value = errors.target + hyper.source * errors.source + hyper.l1 * lasso
    # A batch without a domain's examples counts as 0 in the means of these.
    return value, {
      'target': errors.target,
      'source': errors.source,
      'ratings': sum(jnp.sum(each.weight) for each in shown),
    }

  def predict(state, data):
    return mlp.scores(_asked(state.params, data, pairing))

  def predict_all(state, data):
    return mlp.all_scores(_asked(state.params, data, pairing))

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


def init_params(key, sizes, widths, cross_layers) -> Params:
  """As of `conet_rating`, with two outputs.

  Theirs are all N(0, .01^2), biases too: at the rates that are best here, both
  towers' units then die, and all items tie.
  """
  key, *keys = jax.random.split(key, 3)
  params = conet_rating.init_params(key, sizes, widths, cross_layers)
  towers = (
    each._replace(output=Layer(he(k, (widths[-1], 2)), jnp.zeros(2)))
    for k, each in zip(keys, params.towers)
  )
  return params._replace(towers=Both(*towers))


def clipped(norm) -> optax.GradientTransformation:
  """Makes the gradient of every tensor at most so long."""

  def clip(gradient, _):
    length = jnp.sqrt(jnp.sum(gradient**2))
    return gradient * norm / jnp.maximum(length, norm)

  return optax.stateless_with_tree_map(clip)


def by_size(rows, pairing):
  """The name of the domain that has batches of its own, and of the other."""
  more = rows.source.n_entries > rows.target.n_entries
  if pairing == 'independent' and more:
    return Both._fields
  return Both._fields[::-1]


def examples(key, rows, ids) -> Examples:
  """Events `[B]` and a negative beside each, whose order is drawn.

  Those of people who lack nothing weigh 0.
  """
  key_item, key_order = jax.random.split(key)
  events = rows.events(ids)
  absent, any_ = rows.negatives(key_item, events.row)
  first = jax.random.bernoulli(key_order, shape=ids.shape)[:, None]
  item = jnp.concatenate([events.column[:, None], absent], axis=1)
  label = jnp.concatenate([first, ~first], axis=1)
  item = jnp.where(first, item, item[:, ::-1])
  return Examples(events.row, item, label, events.weight * any_)


def errors_jointly(params, shown):
  """Cross entropies of connected towers, and the lasso's penalty."""
  errors = [
    mlp.cross_entropy(o[..., 0] - o[..., 1], each.label, each.weight[:, None])
    for o, each in zip(outputs(params, shown), shown)
  ]
  return Both(*errors), sum(jnp.sum(jnp.abs(h)) for h in params.cross)


def errors_alone(domain, params, shown):
  """The same of one domain's tower alone, and no penalty."""
  mine = getattr(shown, domain)
  logits = mlp.logits(tower(params, domain), mine.user, mine.item)
  error = mlp.cross_entropy(logits, mine.label, mine.weight[:, None])
  nothing = jnp.zeros_like(error)
  return Both(nothing, nothing)._replace(**{domain: error}), nothing


def outputs(params, shown) -> Both:
  """`[B, K, 2]` of both towers, connected where there are both examples."""
  open = shown.source.weight * shown.target.weight
  open = jnp.broadcast_to(open[:, None], shown.target.item.shape)
  inputs = Both(
    *(
      conet_rating.joined(params, domain, each.user[:, None], each.item)
      for domain, each in shown._asdict().items()
    )
  )
  flat = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), inputs)
  result = conet_rating.together(params, flat, open.reshape(-1))
  return jax.tree.map(lambda x: x.reshape(*open.shape, 2), result)


def tower(params, domain) -> mlp.Params:
  """A domain's tower without the other: an MLP of the outputs' difference."""
  item, layers, output = getattr(params.towers, domain)
  layers = tuple(nets.Dense(*layer) for layer in layers)
  output = nets.Dense(*(x[..., 0] - x[..., 1] for x in output))
  return mlp.Params(params.user, item, layers, output)


def _asked(params, data, pairing):
  """The target's tower, with a zero row for who is never visited."""
  visited = data.target.by_user.length
  if pairing == 'independent':
    visited += data.source.by_user.length
  user = jnp.where(visited[:, None] > 0, params.user, 0)
  return tower(params._replace(user=user), 'target')

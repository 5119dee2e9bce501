"""DARec: rating patterns of both domains, aligned by a domain classifier.

Yuan, Yao and Benatallah, IJCAI 2019. First an AutoRec of each domain, on its
own training ratings, gives a frozen embedding `f` of every row (a user in
U-DARec, an item in I-DARec). Then one network over the rows of both domains:

  x      = relu(f We + be)                         rating pattern extractor
  a_d    = relu(relu(x A1_d + .) A2_d + .)         head of domain d
  yhat_d = offset * mean_d + <a_d, O_d[c]> + o_d[c]
  t      = sigmoid(x~ C1 + .) C2 + .               logit of 'target'

  J = beta MSE_source + target MSE_target + weight BCE(t) + lam |theta|^2

U-DARec reverses the classifier's gradient on its way into x: x~ is x with a
gradient times `-mu`, and the classifier itself learns with `weight = domain`.
I-DARec does not reverse, and `weight = mu`. Source rows train the source head
only, target rows the target head only, and target ratings are predicted from
target rows.

Where the paper's equations contradict its text or the authors' code, this file
follows: eq. 3's classifier loss with prediction and label exchanged (as printed
it is log 0); eq. 6's update, where mu does not weigh the classifier; and eq. 7
with the classifier's loss added. `beta` weighs the domain that is *not*
evaluated; eq. 3 read literally is `beta=1, target=beta`.

Two extensions: `from_autorec` adds `<f, W_d[c]>` to yhat_d. W_d and o_d begin as the
decoder of the domain's AutoRec and O_d as 0, so that training begins at the
predictions of the two AutoRecs. `end_to_end` trains their encoders on with the second
network, in the same J.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdomain import base, nets, stages
from xdomain.data.types import PerDomain
from xdomain.models import autorec
from xdomain.ops import losses, reversal, sampling, sparse

ENCODERS = 'encoders'  # among the parameters, where they are trained end to end


class Hyper(NamedTuple):
  lr: float = 1e-3
  alpha: float = 1e-4  # penalty of the target's AutoRec, eq. 2
  alpha_source: float = 1e-4  # penalty of the source's AutoRec, eq. 2
  lam: float = 1e-5  # penalty of the second network, eq. 3
  beta: float = 0.1  # weight of the source's ratings, eq. 3
  target: float = 1.0  # weight of the target's ratings
  mu: float = 0.1  # strength of the reversal (U-) or of the classifier (I-)
  domain: float = 1.0  # weight of the classifier's loss in U-DARec
  offset: float = 1.0  # 1 predicts around the training means, 0 as published
  offset_autorec: float = 1.0  # the same in the AutoRecs
  penalise_bias: float = 1.0  # in eq. 2


class Given(NamedTuple):
  """The frozen part of a domain's AutoRec that stage 2 reads."""

  embedding: base.Array | tuple[()]  # f [rows, H]; () if it is trained end to end
  level: base.Array  # [] offset * mean
  encoder: base.Tree = ()  # of the AutoRec, where it embeds at each step


class DARec(nn.Module):
  """The network of stage 2: `extractor`, heads `source` and `target`, `classifier`.

  Attributes:
    columns: of the source's rows and of the target's.
    extractor_width: of the rating patterns, d_f.
    head_widths: of the two layers of a head below its output table.
    classifier_width: hidden units of the classifier.
    kernel_init: of the weights.
    embed: width of the embeddings, where the heads' tables multiply them as well.
  """

  columns: tuple[int, int]
  extractor_width: int
  head_widths: tuple[int, int]
  classifier_width: int
  kernel_init: nets.Initializer = nets.small
  embed: int = 0

  def setup(self):
    init = self.kernel_init
    (self.extractor,) = nets.hidden_layers((self.extractor_width,), init)
    self.source, self.target = (
      nets.Decoder(columns, self.head_widths, nn.relu, init, self.embed)
      for columns in self.columns
    )
    self.classifier = nets.MLP((self.classifier_width,), 1, nn.sigmoid, init)

  def __call__(self, f):
    """All outputs of all rows; initialises the module."""
    x = self.pattern(f)
    source, target = (self.units(x, f, domain) for domain in PerDomain._fields)
    return self.source.output(source), self.target.output(target), self.logit(x)

  def pattern(self, f: base.Array):
    """`[B, d_f]` rating patterns x of embeddings `[B, H]`."""
    return nn.relu(self.extractor(f))

  def logit(self, x: base.Array):
    """`[B]` log odds t that a row is of the target domain."""
    return self.classifier(x)[:, 0]

  def units(self, x: base.Array, f: base.Array, domain: str):
    """`[B, h2]` the last hidden layer a_d of a domain's head, or `[B, h2 + H]`."""
    units = getattr(self, domain).units(x)
    return jnp.concatenate([units, f], axis=-1) if self.embed else units

  def squared_error(
    self,
    x: base.Array,
    f: base.Array,
    domain: str,
    entries: sparse.Entries | sparse.Cells,
    level: base.Array,
  ):
    """The squared error of a domain's rows, a sum."""
    units = self.units(x, f, domain)
    return getattr(self, domain).output.squared_error(units, entries, level)

  def rate(self, units: base.Array, domain: str, columns: base.Array):
    """`[...]` ratings relative to the level, of `a_d [..., h2]` at columns."""
    return getattr(self, domain).output.at(units, columns)


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  axis: str = 'user',
  embed: int = 500,
  extractor: int = 100,
  heads: tuple[int, int] = (200, 400),
  classifier: int = 50,
  batch: int = 128,
  initial: str = 'small',
  dropped: float = 0.0,
  from_autorec: bool = False,
  end_to_end: bool = False,
) -> base.Model:
  """U-DARec or I-DARec.

  Args:
    sizes: of the pair.
    axis: 'user' for U-DARec, with gradient reversal; 'item' for I-DARec.
    embed: hidden units of both AutoRecs, H.
    extractor: width of the rating pattern extractor.
    heads: widths of the two layers of each domain's predictor.
    classifier: hidden units of the domain classifier.
    batch: rows a step, B; in stage 2 half of them of each domain.
    initial: distribution of the initial weights of stage 2, 'small' (normal, deviation
      .01) or 'glorot' (uniform, Glorot and Bengio 2010).
    dropped: share of the ratings that are left out at random, at each step, where
      stage 2 embeds a row. At 0 an embedding has seen every rating that it is trained
      to predict.
    from_autorec: whether stage 2 begins at the predictions of the AutoRecs.
    end_to_end: whether stage 2 trains the encoders of the AutoRecs as well.
  """
  base.check_axis(axis)
  if len(heads) != 2:
    raise ValueError(f'heads is {heads!r}; it takes the widths of two layers')
  settings = dict(axis=axis, embed=embed, batch=batch)
  users, source, target = sizes
  columns = (source, target) if axis == 'user' else (users, users)
  first, second = heads
  network = DARec(
    columns,
    extractor,
    (first, second),
    classifier,
    nets.initializer(initial),
    embed if from_autorec else 0,
  )
  in_turn = (
    _autorec(sizes, 'source', **settings),
    _autorec(sizes, 'target', **settings),
    _second_stage(axis, network, embed, max(1, batch // 2), dropped, end_to_end),
  )

  predict_source = functools.partial(_score, axis, network, 'source')
  trained = functools.partial(base.column_trained, axis)
  return base.Model(
    in_turn, in_turn[-1].predict, trained, predict_source, target_only=True
  )


def _autorec(sizes, domain, **settings):
  """The AutoRec of a domain, with that domain's penalty."""
  stage = autorec.stage(sizes, domain=domain, **settings)

  def of_autorec(hyper):
    alpha = hyper.alpha if domain == 'target' else hyper.alpha_source
    return autorec.Hyper(hyper.lr, alpha, hyper.offset_autorec, hyper.penalise_bias)

  def init(key, data, hyper, previous):
    return stage.init(key, data, of_autorec(hyper), previous)

  def step(state, visit, data, key, hyper):
    return stage.step(state, visit, data, key, of_autorec(hyper))

  return stage._replace(init=init, step=step)


def _second_stage(axis, network, embed, half, dropped, end_to_end) -> base.Stage:
  """The network on the embeddings of both domains, which are frozen by default."""

  def rows_of(data):
    return PerDomain(data.source.along(axis), data.target.along(axis))

  def patterns_of(params, embeddings):
    """`[B, d_f]` of each domain's embeddings `[B, H]`."""
    return PerDomain(
      *(nets.apply(network, params, f, method='pattern') for f in embeddings)
    )

  def init(key, data, hyper, previous):
    given = (
      Given(
        () if end_to_end else autorec.encode_all(state.params, rows),
        state.frozen if network.embed else hyper.offset * rows.mean(),
        {'encoder': state.params['encoder']} if dropped and not end_to_end else (),
      )
      for state, rows in zip(previous, rows_of(data))
    )
    params = nets.init(network, key, jnp.zeros((1, embed)))
    if network.embed:
      for domain, state in zip(PerDomain._fields, previous):
        params[domain]['output'] = _beside_zeros(
          state.params['decoder'], network.head_widths[-1]
        )
    if end_to_end:
      encoders = ({'encoder': state.params['encoder']} for state in previous)
      params[ENCODERS] = PerDomain(*encoders)
    return params, PerDomain(*given)

  def epoch(key, data):
    return interleaved(key, *rows_of(data), half)

  def mean_squared_error(params, domain, given, x, f, rows, ids):
    """Per observed rating, of one domain's half of a batch."""
    sse = nets.apply(
      network,
      params,
      x,
      f,
      domain,
      rows.observed(ids),
      given.level,
      method='squared_error',
    )
    return sse / rows.expected(ids)

  def confusion(params, patterns, rows, visit):
    """Mean cross entropy of the classifier; label 1 for target rows."""
    total, count = 0.0, 0
    for label, (x, of_domain, ids) in enumerate(zip(patterns, rows, visit)):
      logit = nets.apply(network, params, x, method='logit')
      real = ids < of_domain.n_rows
      total += jnp.sum(real * losses.binary_cross_entropy(logit, label))
      count += jnp.sum(real)
    return total / count

  def embeddings(params, given, rows, visit, key):
    """`[B, H]` of each domain's half of a batch, from the ratings that are kept."""
    if not dropped and not end_to_end:
      return [g.embedding[ids] for g, ids in zip(given, visit)]
    encoders = params[ENCODERS] if end_to_end else [g.encoder for g in given]
    keys = jax.random.split(key) if dropped else (None, None)
    return [
      autorec.encode(encoder, of_domain, ids, key=k, dropped=dropped)
      for k, encoder, of_domain, ids in zip(keys, encoders, rows, visit)
    ]

  def loss(params, given, visit, data, key, hyper):
    rows = rows_of(data)
    embedded = embeddings(params, given, rows, visit, key)
    patterns = patterns_of(params, embedded)
    mse = PerDomain(
      *(
        mean_squared_error(params, *of_domain)
        for of_domain in zip(PerDomain._fields, given, patterns, embedded, rows, visit)
      )
    )
    if axis == 'user':
      patterns = reversal.reverse_gradient(patterns, hyper.mu)
    domain_loss = confusion(params, patterns, rows, visit)
    value = (
      hyper.beta * mse.source
      + hyper.target * mse.target
      + (hyper.domain if axis == 'user' else hyper.mu) * domain_loss
      + losses.ridge(params, hyper.lam)
    )
    counts = [r.expected(ids) for r, ids in zip(rows, visit)]
    return value, {
      'mse': mse.target,
      'mse_source': mse.source,
      'domain_loss': domain_loss,
      'ratings': sum(counts),
    }

  def inspect(state, data):
    params, rows = state.params, rows_of(data)
    every = (
      _embeddings(state, domain, getattr(rows, domain)) for domain in rows._fields
    )
    patterns = patterns_of(params, every)
    source, target = (nets.apply(network, params, x, method='logit') for x in patterns)
    fires = [jnp.any(x > 0, axis=0) for x in patterns]
    return {
      'dead_units': jnp.mean(~(fires[0] | fires[1])),
      'domain_accuracy': (jnp.mean(source < 0) + jnp.mean(target > 0)) / 2,
    }

  predict = functools.partial(_score, axis, network, 'target')
  return stages.gradient_stage(
    init, loss, epoch, predict=predict, name='darec', inspect=inspect
  )


def _beside_zeros(decoder, width):
  """An AutoRec's decoder as the table of a head, whose other units weigh 0."""
  table = jnp.pad(decoder['table'], ((0, 0), (width, 0)))
  return {'table': table, 'bias': decoder['bias']}


def interleaved(
  key: base.Array, source: base.Rows, target: base.Rows, half: int
) -> PerDomain:
  """Row ids `([N, half], [N, half])`: half a batch of each domain.

  The domain with fewer rows is visited again, in a new order each time, until
  the other's rows are used up. (The authors tile it, which always repeats the
  same rows.)
  """
  keys = jax.random.split(key)
  n = max(sampling.n_batches(r.n_rows, half) for r in (source, target))
  return PerDomain(*(_cycles(k, r, half, n) for k, r in zip(keys, (source, target))))


def _cycles(key, rows, half, n):
  """`[n, half]` row ids, as many fresh permutations as it takes."""
  rounds = -(-n // sampling.n_batches(rows.n_rows, half))
  keys = jax.random.split(key, rounds)
  batches = jax.vmap(lambda key: rows.batches(key, half))(keys)
  return batches.reshape(-1, half)[:n]


def _embeddings(state, domain, rows):
  """`[R, H]` the embeddings of all rows of a domain."""
  if ENCODERS in state.params:
    return autorec.encode_all(getattr(state.params[ENCODERS], domain), rows)
  return getattr(state.frozen, domain).embedding


def _score(axis, network, domain, state, data):
  """The score of one domain, from that domain's own rows."""
  f = _embeddings(state, domain, getattr(data, domain).along(axis))
  level, params = getattr(state.frozen, domain).level, state.params
  x = nets.apply(network, params, f, method='pattern')
  units = nets.apply(network, params, x, f, domain, method='units')

  def rate(row, column):
    return level + nets.apply(
      network, params, units[row], domain, column, method='rate'
    )

  return base.oriented(axis, rate)

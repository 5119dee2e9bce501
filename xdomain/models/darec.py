"""DARec: rating patterns of both domains, aligned by a domain classifier.

Yuan, Yao and Benatallah, IJCAI 2019. First an AutoRec of each domain, on its
own training ratings, gives a frozen embedding `f` of every row (a user in
U-DARec, an item in I-DARec). Then one network over the rows of both domains:

  x      = relu(f We + be)                         rating pattern extractor
  a_d    = relu(relu(x A1_d + .) A2_d + .)         head of domain d
  yhat_d = offset * mean_d + <a_d, O_d[c]> + o_d[c]
  t      = sigmoid(x~ C1 + .) C2 + .               logit of 'target'

  J = beta MSE_source + target MSE_target + weight BCE(t) + lam |theta|^2

U-DARec reverses the classifier's gradient on its way into x (x~ has strength
`mu`, the classifier itself learns with `weight = domain`); I-DARec does not
reverse, and `weight = mu`. Source rows train the source head only, target rows
the target head only, and target ratings are predicted from target rows.

Where the paper's equations contradict its text or the authors' code, this is
what is followed: eq. 3's classifier loss with prediction and label exchanged
(as printed it is log 0); eq. 6's update, the classifier not weighted by mu; and
eq. 7 with the classifier's loss added. `beta` weighs the domain that is *not*
evaluated; eq. 3 read literally is `beta=1, target=beta`.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdomain import base, stages
from xdomain.models import autorec
from xdomain.ops import losses, reversal, sampling, sparse


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
  """What stage 2 takes from a domain's AutoRec, frozen."""

  embedding: base.Array  # f [rows, H]
  level: base.Array  # [] offset * mean


class Output(NamedTuple):
  """The last layer of a domain's head."""

  table: base.Array  # O_d [columns, h2]
  bias: base.Array  # o_d [columns]


class Both(NamedTuple):
  """One thing for each domain."""

  source: Any
  target: Any


class Params(NamedTuple):
  network: base.Tree
  output: Both  # of Output


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
) -> base.Model:
  """U-DARec or I-DARec.

  Args:
    sizes: of the pair.
    axis: 'user' for U-DARec, with gradient reversal; 'item' for I-DARec.
    embed: hidden units of both AutoRecs.
    extractor: width of the rating pattern extractor.
    heads: widths of the two layers of each domain's predictor.
    classifier: hidden units of the domain classifier.
    batch: rows a step; in stage 2 half of them of each domain.
  """
  base.check_axis(axis)
  if len(heads) != 2:
    raise ValueError(f'heads is {heads!r}; it takes the widths of two layers')
  settings = dict(axis=axis, embed=embed, batch=batch)
  network = Network(extractor, tuple(heads), classifier)
  stages = (
    _autorec(sizes, 'source', **settings),
    _autorec(sizes, 'target', **settings),
    _second_stage(axis, network, max(1, batch // 2)),
  )

  def predict_source(state, data):
    return _score(axis, network, 'source', state.params, state.frozen)

  trained = functools.partial(base.column_trained, axis)
  return base.Model(
    stages, stages[-1].predict, trained, predict_source, target_only=True
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


class Network(nn.Module):
  """Extractor, heads and classifier; the output tables stand beside it."""

  extractor: int
  heads: tuple[int, int]
  classifier: int

  def setup(self):
    def dense(width):
      return nn.Dense(width, kernel_init=nn.initializers.normal(0.01))

    self.extract = dense(self.extractor)
    self.source = [dense(width) for width in self.heads]
    self.target = [dense(width) for width in self.heads]
    self.classify = [dense(self.classifier), dense(1)]

  def __call__(self, f):
    """All outputs of all rows; to initialise."""
    x = self.pattern(f)
    return self.head(x, 'source'), self.head(x, 'target'), self.logit(x)

  def pattern(self, f):
    """`[B, d_f]` rating patterns of embeddings `[B, H]`."""
    return nn.relu(self.extract(f))

  def head(self, x, domain):
    """`[B, h2]` what a domain's output table is multiplied with."""
    first, second = getattr(self, domain)
    return nn.relu(second(nn.relu(first(x))))

  def logit(self, x):
    """`[B]` log odds that a row is of the target domain."""
    hidden, out = self.classify
    return out(nn.sigmoid(hidden(x)))[:, 0]


def _second_stage(axis, network, half) -> base.Stage:
  """The network on the frozen embeddings of both domains."""

  def rows_of(data):
    return Both(data.source.along(axis), data.target.along(axis))

  def init(key, data, hyper, previous):
    rows = rows_of(data)
    given = Both(
      *(
        Given(autorec.encode_all(state.params, r), hyper.offset * r.mean())
        for state, r in zip(previous, rows)
      )
    )
    key, *keys = jax.random.split(key, 3)
    params = network.init(key, given.target.embedding[:1])
    width = network.heads[1]
    output = Both(
      *(
        Output(
          0.01 * jax.random.normal(k, (r.n_columns, width)),
          jnp.zeros(r.n_columns),
        )
        for k, r in zip(keys, rows)
      )
    )
    return Params(params, output), given

  def epoch(key, data):
    return interleaved(key, *rows_of(data), half)

  def loss(params, given, visit, data, key, hyper):
    del key
    patterns = Both(
      *(
        network.apply(params.network, g.embedding[ids], method='pattern')
        for g, ids in zip(given, visit)
      )
    )
    rows = rows_of(data)
    mse = Both(
      *(
        _mse(network, params, domain, *of_domain)
        for domain, *of_domain in zip(Both._fields, given, rows, visit, patterns)
      )
    )
    if axis == 'user':
      patterns = reversal.reverse_gradient(patterns, hyper.mu)
    confusion = _domain_loss(network, params, patterns, rows, visit)
    value = (
      hyper.beta * mse.source
      + hyper.target * mse.target
      + (hyper.domain if axis == 'user' else hyper.mu) * confusion
      + losses.ridge(params, hyper.lam)
    )
    counts = [r.expected(ids) for r, ids in zip(rows, visit)]
    return value, {
      'mse': mse.target,
      'mse_source': mse.source,
      'domain_loss': confusion,
      'ratings': sum(counts),
    }

  def inspect(state, data):
    del data
    params, given = state.params, state.frozen
    patterns = [
      network.apply(params.network, g.embedding, method='pattern') for g in given
    ]
    source, target = (
      network.apply(params.network, x, method='logit') for x in patterns
    )
    fires = [jnp.any(x > 0, axis=0) for x in patterns]
    return {
      'dead_units': jnp.mean(~(fires[0] | fires[1])),
      'domain_accuracy': (jnp.mean(source < 0) + jnp.mean(target > 0)) / 2,
    }

  def predict(state, data):
    del data
    return _score(axis, network, 'target', state.params, state.frozen)

  return stages.gradient_stage(
    init, loss, epoch, predict=predict, name='darec', inspect=inspect
  )


def interleaved(key, source, target, half):
  """Row ids `([N, half], [N, half])`: half a batch of each domain.

  The domain with fewer rows is gone through again, in a new order each time,
  until the other's are used up. (The authors tile it, which always shows the
  same rows once more.)
  """
  keys = jax.random.split(key)
  n = max(sampling.n_batches(r.n_rows, half) for r in (source, target))
  return Both(*(_cycles(k, r, half, n) for k, r in zip(keys, (source, target))))


def _cycles(key, rows, half, n):
  """`[n, half]` row ids, as many fresh permutations as it takes."""
  rounds = -(-n // sampling.n_batches(rows.n_rows, half))
  keys = jax.random.split(key, rounds)
  batches = jax.vmap(lambda key: rows.batches(key, half))(keys)
  return batches.reshape(-1, half)[:n]


def _mse(network, params, domain, given, rows, ids, x):
  """Squared error per observed rating, of one domain's half of a batch."""
  entries = rows.observed(ids)
  output = getattr(params.output, domain)
  a = network.apply(params.network, x, domain, method='head')
  bias = given.level + output.bias
  sse = sparse.squared_error(a, output.table, bias, entries)
  return sse / rows.expected(ids)


def _domain_loss(network, params, patterns, rows, visit):
  """Mean cross entropy of the classifier; label 1 for target rows."""
  total, count = 0.0, 0
  for label, (x, r, ids) in enumerate(zip(patterns, rows, visit)):
    logit = network.apply(params.network, x, method='logit')
    real = ids < r.n_rows
    total += jnp.sum(real * losses.binary_cross_entropy(logit, label))
    count += jnp.sum(real)
  return total / count


def _score(axis, network, domain, params, given):
  """The score of one domain, from that domain's own rows."""
  f, level = getattr(given, domain)
  x = network.apply(params.network, f, method='pattern')
  a = network.apply(params.network, x, domain, method='head')  # [rows, h2]
  table, bias = getattr(params.output, domain)

  def rate(row, column):
    return level + bias[column] + jnp.sum(a[row] * table[column], axis=-1)

  return base.oriented(axis, rate)

"""DARec against the golden numbers, term by term and sign by sign."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, stages
from xdomain.models import darec
from xdomain.training import loop

AXES = pytest.mark.parametrize('axis', ['user', 'item'])
DOMAINS = ('source', 'target')


def golden(axis):
  return helpers.golden('golden_rating')[f'{axis[0].upper()}-DARec']


def autorec_params(axis, domain):
  columns = {'item': 5, 'user': {'source': 3, 'target': 6}[domain]}[axis]
  seed = {'source': 31, 'target': 41}[domain]
  tree = {
    'encoder': {
      'table': helpers.wave((columns, 3), seed),
      'bias': helpers.wave((3,), seed + 1),
    },
    'decoder': {'table': np.zeros((columns, 3)), 'bias': np.zeros(columns)},
  }
  return jax.tree.map(jnp.asarray, tree)


def golden_params(axis, columns):
  """The second network that the golden numbers were computed with."""

  def layer(rows, width, seed, scale, bias_scale=0.3, bias_shift=0.37):
    return {
      'kernel': jnp.asarray(helpers.wave((rows, width), seed, scale)),
      'bias': jnp.asarray(helpers.wave((width,), seed + 1, bias_scale, bias_shift)),
    }

  network = {
    'extract': layer(3, 3, 10, 0.8, bias_shift=0.2),
    'classify_0': layer(3, 2, 24, 2.0, bias_shift=0.0),
    'classify_1': layer(2, 1, 26, 2.0, bias_shift=0.0),
  }
  output = {}
  for domain, seed in (('source', 12), ('target', 18)):
    network[f'{domain}_0'] = layer(3, 4, seed, 0.8)
    network[f'{domain}_1'] = layer(4, 3, seed + 2, 0.8)
    last = layer(columns[domain], 3, seed + 4, 0.8)
    bias = helpers.wave((columns[domain],), seed + 5, 1.0, 3.0)
    output[domain] = darec.Output(last['kernel'], jnp.asarray(bias))
  return darec.Params({'params': network}, darec.Both(**output))


def _roomy(domain):
  """The golden batches are not balanced and repeat rows: more entries each."""
  return base.Domain(*(dataclasses.replace(r, longest=4 * r.longest) for r in domain))


def one_step(axis):
  """Metrics and gradients of a step over all rows, as sums."""
  expected = golden(axis)
  sizes, data, _ = helpers.golden_arrays()
  data = data._replace(source=_roomy(data.source), target=_roomy(data.target))
  domains = np.array(expected['batch_domain'])
  ids = np.array(expected['batch_rows'])
  visit = darec.Both(*(jnp.asarray(ids[domains == d]) for d in (0, 1)))
  rows = darec.Both(*(getattr(data, d).along(axis) for d in DOMAINS))
  counts = darec.Both(*(r.expected(i) for r, i in zip(rows, visit)))
  hyper = darec.Hyper(
    beta=1.0 * counts.source,
    target=0.5 * counts.target,
    mu=0.7 if axis == 'user' else 0.7 * ids.size,
    domain=1.0 * ids.size,
    lam=0.001,
    offset=0.0,
  )
  stage = darec.model(
    sizes, axis=axis, embed=3, extractor=3, heads=(4, 3), classifier=2
  ).stages[-1]
  previous = tuple(
    stages.GradientState(autorec_params(axis, domain), 0.0, ()) for domain in DOMAINS
  )
  state = stage.init(jax.random.key(0), data, hyper, previous)
  columns = {d: r.n_columns for d, r in zip(DOMAINS, rows)}
  params = golden_params(axis, columns)
  assert jax.tree.structure(params) == jax.tree.structure(state.params)
  zeros = jax.tree.map(jnp.zeros_like, params)
  moments = state.moments._replace(mu=zeros, nu=zeros)
  state = state._replace(params=params, moments=moments)
  after, metrics = stage.step(state, visit, data, jax.random.key(0), hyper)
  gradients = jax.tree.map(lambda m: m / 0.1, after.moments.mu)
  return jax.device_get((state, metrics, gradients, counts))


@AXES
def test_losses_are_those_of_another_implementation(axis):
  expected = golden(axis)
  with jax.enable_x64(True):
    state, metrics, _, counts = one_step(axis)
    for domain, given in zip('ST', state.frozen):
      np.testing.assert_allclose(
        given.embedding, expected[f'embedding_{domain}'], rtol=1e-7
      )
  count = len(expected['batch_rows'])
  for value, name in (
    (metrics['mse_source'] * counts.source, 'sse_S'),
    (metrics['mse'] * counts.target, 'sse_T'),
    (metrics['domain_loss'] * count, 'loss_dom_sum'),
  ):
    np.testing.assert_allclose(value, expected[name], rtol=1e-7)


@AXES
def test_every_gradient_is_that_of_another_implementation(axis):
  expected = golden(axis)
  with jax.enable_x64(True):
    _, _, gradients, _ = one_step(axis)
  layers = gradients.network['params']
  names = {
    'extract': 'e',
    'source_0': 'S1',
    'source_1': 'S2',
    'target_0': 'T1',
    'target_1': 'T2',
    'classify_0': 'C1',
    'classify_1': 'C2',
  }
  for ours, theirs in names.items():
    weight, bias = ('We', 'be') if theirs == 'e' else (theirs, theirs.lower())
    for part, name in (('kernel', weight), ('bias', bias)):
      np.testing.assert_allclose(
        layers[ours][part], expected[f'grad/{name}'], atol=1e-6
      )
  for output, name in zip(gradients.output, 'ST'):
    np.testing.assert_allclose(output.table, expected[f'grad/{name}3'], atol=1e-6)
    np.testing.assert_allclose(
      output.bias, expected[f'grad/{name.lower()}3'], atol=1e-6
    )


def test_user_darec_reverses_the_classifier_and_item_darec_does_not():
  for axis, sign in (('user', -1), ('item', 1)):
    expected = golden(axis)
    with jax.enable_x64(True):
      state, _, gradients, _ = one_step(axis)
      kernel = state.params.network['params']['extract']['kernel']
    np.testing.assert_allclose(
      gradients.network['params']['extract']['kernel'],
      np.array(expected['grad_pred_only/We'])
      + sign * 0.7 * np.array(expected['grad_dom_only/We'])
      + 2 * 0.001 * kernel,
      atol=1e-6,
    )


@pytest.mark.parametrize('half', [4, 64])
def test_an_epoch_shows_every_row_and_repeats_only_the_smaller_domain(half):
  data = helpers.small(users=60, source=40, target=50).data
  source, target = data.source.by_item, data.target.by_item
  visits = darec.interleaved(jax.random.key(0), source, target, half)
  seen = [np.bincount(v.ravel(), minlength=51) for v in visits]
  np.testing.assert_array_equal(seen[1][:50], 1)
  assert set(seen[0][:40]) <= {1, 2}
  assert visits.source.shape == visits.target.shape


def test_source_ratings_do_not_train_the_target_head():
  small = helpers.small()
  model = darec.model(small.sizes, axis='user', embed=8)
  hyper = darec.Hyper(lam=0.0, target=0.0)
  end = loop.fit(model, jax.random.key(0), small.data, hyper, epochs=1)
  start = loop.begin(model, jax.random.key(0), small.data, hyper, 2, end.done).state
  layers, before = (s.params.network['params'] for s in (end.best, start))
  np.testing.assert_array_equal(
    layers['target_0']['kernel'], before['target_0']['kernel']
  )
  assert np.any(layers['source_0']['kernel'] != before['source_0']['kernel'])


@AXES
def test_each_domain_is_scored_by_its_own_head_and_embeddings(axis):
  small = helpers.small()
  model = darec.model(small.sizes, axis=axis, embed=8)
  end = loop.fit(model, jax.random.key(0), small.data, darec.Hyper(), epochs=1)
  predicts = {'source': model.predict_source, 'target': model.predict}
  for domain, predict in predicts.items():
    queries = getattr(small.test, domain)

    def ask(state, predict=predict, queries=queries):
      return predict(state, small.data)(queries.user, queries.item)

    before = ask(end.best)
    for changed in DOMAINS:
      output, given = end.best.params.output, end.best.frozen
      bias = getattr(output, changed).bias + 1
      louder = getattr(output, changed)._replace(bias=bias)
      params = end.best.params._replace(output=output._replace(**{changed: louder}))
      moved = ask(end.best._replace(params=params)) - before
      np.testing.assert_allclose(moved, float(changed == domain), atol=1e-5)
      embedding = getattr(given, changed).embedding * 0 + 5.0
      other = getattr(given, changed)._replace(embedding=embedding)
      frozen = given._replace(**{changed: other})
      moved = ask(end.best._replace(frozen=frozen)) - before
      assert np.any(moved != 0) == (changed == domain)


@AXES
def test_the_source_has_a_penalty_of_its_own(axis):
  small = helpers.small()
  model = darec.model(small.sizes, axis=axis, embed=8)
  ends = [
    loop.fit(
      model,
      jax.random.key(0),
      small.data,
      darec.Hyper(alpha_source=alpha),
      epochs=2,
    ).done
    for alpha in (1e-4, 1e-1)
  ]
  (source, target), (other_source, other_target) = ends
  chex.assert_trees_all_equal(target.params, other_target.params)
  tables = [each.params['encoder']['table'] for each in (source, other_source)]
  assert np.any(tables[0] != tables[1])


def inspected(change):
  """What is logged of a network whose layers `change` has rewritten."""
  small = helpers.small()
  model = darec.model(small.sizes, axis='user', embed=8)
  state = loop.fit(model, jax.random.key(0), small.data, darec.Hyper(), epochs=1).best
  layers = dict(state.params.network['params'])
  change(layers)
  params = state.params._replace(network={'params': layers})
  stage = model.stages[-1]
  return stage.inspect(state._replace(params=params), small.data)


@pytest.mark.parametrize(('bias', 'dead'), [(-100.0, 1.0), (100.0, 0.0)])
def test_units_that_never_fire_are_counted(bias, dead):
  def change(layers):
    shape = layers['extract']['bias'].shape
    layers['extract'] = layers['extract'] | {'bias': jnp.full(shape, bias)}

  assert inspected(change)['dead_units'] == dead


def test_a_classifier_that_always_says_target_is_right_half_the_time():
  def change(layers):
    layers['classify_1'] = layers['classify_1'] | {'bias': jnp.array([1e3])}

  assert inspected(change)['domain_accuracy'] == 0.5


def test_a_classifier_that_knows_the_domains_is_always_right():
  small = helpers.small()
  model = darec.model(small.sizes, axis='user', embed=8)
  end = loop.fit(model, jax.random.key(0), small.data, darec.Hyper(), epochs=1)
  params, given = end.best.params, end.best.frozen
  layers = jax.tree.map(jnp.zeros_like, params.network['params'])
  # One unit of each layer carries the sign of one coordinate of f.
  layers['extract']['kernel'] = layers['extract']['kernel'].at[0, 0].set(1.0)
  kernel = layers['classify_0']['kernel'].at[0, 0].set(100.0)
  layers['classify_0'] |= {'kernel': kernel}
  layers['classify_1'] |= {
    'kernel': layers['classify_1']['kernel'].at[0, 0].set(2.0),
    'bias': jnp.array([-1.5]),
  }
  given = darec.Both(
    *(
      g._replace(embedding=jnp.full_like(g.embedding, sign))
      for g, sign in zip(given, (-1.0, 1.0))
    )
  )
  state = end.best._replace(
    params=params._replace(network={'params': layers}), frozen=given
  )
  inspect = model.stages[-1].inspect
  assert inspect(state, small.data)['domain_accuracy'] == 1.0


def test_parameter_counts_are_those_of_the_layers():
  small = helpers.small()
  model = darec.model(
    small.sizes, axis='user', embed=8, extractor=6, heads=(5, 4), classifier=3
  )
  shapes = loop.abstract(
    model, jax.random.key(0), small.data, darec.Hyper(), 2
  ).state.params
  users, source, target = small.sizes
  del users
  head = 6 * 5 + 5 + 5 * 4 + 4
  classifier = 6 * 3 + 3 + 3 + 1
  outputs = (source + target) * (4 + 1)
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == (
    8 * 6 + 6 + 2 * head + classifier + outputs
  )

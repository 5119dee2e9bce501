"""EMCDR against the golden numbers; who is mapped, and from what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, nets, stages
from xdomain.data import device
from xdomain.models import bpr, emcdr
from xdomain.training import loop

GOLDEN = helpers.golden('golden_ranking')['emcdr']
SHAPE = dict(factors=8, hidden=16, batch=64)


MAPPING = nets.MLP((4,), 2)


def golden_params():
  fill = helpers.fill
  return {
    'hidden_0': {'kernel': fill(1, (2, 4)), 'bias': fill(2, 4)},
    'output': {'kernel': fill(3, (4, 2)), 'bias': fill(4, 2)},
  }


def golden_frozen(mapped=(True, True, True)):
  tables = (jnp.asarray(GOLDEN[name]) for name in ('U_s', 'U_t', 'V_t'))
  return emcdr.Frozen(*tables, jnp.array(mapped))


def golden_model(**settings):
  return emcdr.model(base.Sizes(3, 5, 4), factors=2, hidden=4, **settings)


def golden_step(visit, penalty=0.0):
  """Metrics, and the gradients, of a step of the mapping."""
  step = golden_model().stages[2].step
  before = stages.GradientState(golden_params(), golden_frozen(), ())
  hyper = emcdr.Hyper(lr=7.0, lr_mapping=1.0, penalty_mapping=penalty)
  after, metrics = step(before, jnp.array(visit), None, None, hyper)
  return metrics, jax.tree.map(jnp.subtract, before.params, after.params)


@pytest.mark.parametrize('visit', [[0, 1, 2], [2, 0, 1, 3, 3]])
def test_loss_and_gradients_are_those_of_another_implementation(visit):
  with jax.enable_x64(True):
    metrics, gradients = golden_step(visit)
  expected = GOLDEN['loss_mean_users_sum_dims']
  assert float(metrics['loss']) == pytest.approx(expected, rel=1e-12)
  assert float(metrics['ratings']) == 3
  for layer, part, name in (
    ('hidden_0', 'kernel', 'grad_w1'),
    ('output', 'bias', 'grad_b2'),
  ):
    np.testing.assert_allclose(gradients[layer][part], GOLDEN[name], atol=1e-12)


def test_the_penalty_is_of_the_kernels():
  _, plain = golden_step([0, 1, 2])
  _, penalised = golden_step([0, 1, 2], penalty=0.1)
  for name, layer in golden_params().items():
    pull = jax.tree.map(jnp.subtract, penalised[name], plain[name])
    np.testing.assert_allclose(pull['kernel'], 0.2 * layer['kernel'], atol=1e-6)
    np.testing.assert_array_equal(pull['bias'], 0)


def test_mapped_scores_are_those_of_another_implementation():
  with jax.enable_x64(True):
    state = stages.GradientState(golden_params(), golden_frozen(), ())
    mapped = MAPPING.apply({'params': state.params}, state.frozen.source)
    scores = golden_model().predict_all(state, None)(jnp.arange(3))
  np.testing.assert_allclose(mapped, GOLDEN['mapped'], atol=1e-12)
  np.testing.assert_allclose(scores, GOLDEN['scores_mapped'], atol=1e-12)


def test_those_who_are_not_mapped_keep_their_vectors():
  frozen = golden_frozen(mapped=[False, True, False])
  state = stages.GradientState(golden_params(), frozen, ())
  score = golden_model().predict_all(state, None)
  scores = score(jnp.arange(3))
  np.testing.assert_allclose(scores[1], GOLDEN['scores_mapped'][1], atol=1e-6)
  warm = jnp.array([0, 2])
  np.testing.assert_allclose(
    scores[warm], frozen.target[warm] @ frozen.item.T, atol=1e-6
  )


def without(domain, users):
  """The planted training pair, where some people have nothing in a domain."""
  pair = helpers.implicit().split.train
  ratings = getattr(pair, domain)
  keep = ~np.isin(ratings.user, users)
  columns = (c[keep] if c.size else c for c in ratings[:4])
  less = ratings._replace(**dict(zip(ratings._fields, columns)))
  return device.put(pair._replace(**{domain: less}))


@pytest.mark.parametrize('domain', ['source', 'target'])
def test_the_mapping_visits_each_shared_user_once_and_nobody_else(domain):
  data, sizes = without(domain, [1, 4, 5]), helpers.implicit().sizes
  mapping = emcdr.model(sizes, **SHAPE).stages[2]
  visits = np.ravel(mapping.epoch(jax.random.key(0), data))
  visited = np.sort(visits[visits < sizes.users])
  np.testing.assert_array_equal(
    visited, np.setdiff1d(np.arange(sizes.users), [1, 4, 5])
  )


def fit(data, epochs=2, **settings):
  model = emcdr.model(helpers.implicit().sizes, **SHAPE, **settings)
  hyper = emcdr.Hyper()
  return model, loop.fit(model, jax.random.key(0), data, hyper, epochs=epochs)


@pytest.mark.parametrize('domain', ['source', 'target'])
def test_the_factors_of_each_domain_are_bprs(domain):
  data, sizes = helpers.implicit().data, helpers.implicit().sizes
  ours = emcdr.model(sizes, **SHAPE).stages[domain == 'target']
  theirs = bpr.stage(domain=domain, factors=8, bias='none', batch=64)
  hypers = emcdr.Hyper(0.3, 0.1, 0.2, 0.4), bpr.Hyper(0.3, 0.1, 0.2, 0.4)
  ends = []
  for stage, hyper in zip((ours, theirs), hypers):
    state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
    visits = helpers.jitted(stage.epoch)(jax.random.key(1), data)
    visit = jax.tree.map(lambda x: x[0], visits)
    ends.append(helpers.jitted(stage.step)(state, visit, data, None, hyper)[0])
  assert ours.domain == domain
  for one, two in zip(*map(jax.tree.leaves, ends)):
    np.testing.assert_array_equal(one, two)


@pytest.mark.matrix
def test_the_mapping_leaves_factors_as_they_were():
  _, progress = fit(helpers.implicit().data)
  (source, target), frozen = progress.done, progress.best_of().frozen
  np.testing.assert_array_equal(frozen.source, source.user[0])
  np.testing.assert_array_equal(frozen.target, target.user[0])
  np.testing.assert_array_equal(frozen.item, target.item.vector[0])


@pytest.mark.matrix
@pytest.mark.parametrize('mapped', emcdr.MAPPED)
def test_scores_of_somebody_new_come_from_the_source_alone(mapped):
  data = without('target', [3])
  model, progress = fit(data, mapped=mapped)
  frozen = progress.best_of().frozen
  np.testing.assert_array_equal(frozen.target[3], 0)
  mapping, params = (
    nets.MLP((SHAPE['hidden'],), SHAPE['factors']),
    progress.best_of().params,
  )
  expected = mapping.apply({'params': params}, frozen.source)[3]
  scores = model.predict_all(progress.best_of(), data)(jnp.array([3]))
  np.testing.assert_allclose(scores[0], frozen.item @ expected, atol=1e-6)


@pytest.mark.matrix
@pytest.mark.parametrize('mapped', emcdr.MAPPED)
def test_who_is_mapped_has_a_vector_to_be_mapped(mapped):
  _, progress = fit(without('source', [3]), mapped=mapped)
  everybody = np.arange(helpers.implicit().sizes.users)
  expected = (everybody != 3) & (mapped == 'all')
  np.testing.assert_array_equal(progress.best_of().frozen.mapped, expected)


@pytest.mark.matrix
def test_what_is_planted_in_the_source_ranks_for_new_people():
  small = helpers.implicit()
  new = np.arange(0, small.sizes.users, 5)
  data = without('target', new)
  model, progress = fit(data, epochs=40)
  asked = np.isin(small.valid.target.user, new)
  queries = jax.tree.map(lambda x: x[asked], small.valid.target)
  ours, _ = small.measure(model.predict(progress.best_of(), data), data, queries)
  chance, _ = small.measure(
    lambda users, items: jax.random.uniform(jax.random.key(0), items.shape),
    data,
    queries,
  )
  assert 1 - ours > 1.3 * (1 - chance)


@pytest.mark.matrix
def test_all_scores_are_the_scores_of_all_items():
  data, sizes = helpers.implicit().data, helpers.implicit().sizes
  model, progress = fit(data, mapped='cold_only')
  users = jnp.arange(sizes.users)
  items = jnp.tile(jnp.arange(sizes.target), (users.size, 1))
  np.testing.assert_allclose(
    model.predict(progress.best_of(), data)(users, items),
    model.predict_all(progress.best_of(), data)(users),
    atol=1e-5,
  )


def test_without_anybody_in_both_domains_there_is_nothing_to_learn_from():
  users = helpers.implicit().sizes.users
  with pytest.raises(ValueError, match='positives in both domains'):
    emcdr.shared_users(without('target', np.arange(users)))


def test_an_unknown_form_is_answered_with_the_known_ones():
  with pytest.raises(ValueError, match="did you mean 'cold_only'"):
    emcdr.model(base.Sizes(3, 4, 5), mapped='cold')


def test_a_batch_of_padding_moves_nothing():
  metrics, gradients = golden_step([3, 3])
  assert metrics['loss'] == 0 and metrics['ratings'] == 0
  assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradients))


def test_the_mapping_has_as_many_parameters_as_in_the_paper():
  # One hidden layer twice as wide as the K factors: K x 2K + 2K + 2K x K + K.
  sizes = helpers.implicit().sizes
  mapping = emcdr.model(sizes, factors=20, hidden=40).stages[2]
  factors = jnp.zeros((sizes.users, 20))
  bprs = [bpr.Params(factors, bpr.Items(factors, None))] * 2
  data = helpers.implicit().data
  state = helpers.jitted(mapping.init)(jax.random.key(0), data, emcdr.Hyper(), bprs)
  assert helpers.count(state.params) == 20 * 40 + 40 + 40 * 20 + 20

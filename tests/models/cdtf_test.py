"""CDTF against the golden numbers and against its dense form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device
from xdomain.models import bias, cdtf
from xdomain.ops import sparse
from xdomain.training import loop


def started(data, sizes, hyper, a, c, **settings):
  """The stage, and its state before the first iteration."""
  (stage,) = cdtf.model(sizes, **settings).stages
  state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
  return stage, state._replace(a=jnp.asarray(a), c=jnp.asarray(c))


def iterate(stage, state, data, hyper, times):
  """States and values of J after each iteration."""
  step = jax.jit(
    lambda state: helpers.jitted(stage.step)(state, None, data, None, hyper)
  )
  states, values = [], []
  for _ in range(times):
    state, metrics = step(state)
    states.append(state)
    values.append(float(metrics['loss']))
  return states, values


def said(slab):
  """All cells of a slab, `[U, items]`."""
  return np.asarray(slab.user) @ np.asarray(slab.item).T


def test_iterations_are_those_of_another_implementation():
  expected = helpers.golden('golden_rating')['CDTF']
  with jax.enable_x64(True):
    sizes, data, _ = helpers.golden_arrays()
    hyper = cdtf.Hyper(0.5, *expected['settings']['lam'])
    a = helpers.wave((5, 2), 91, scale=0.4, shift=0.5)
    c = helpers.wave((2, 2), 92, scale=0.4, shift=0.5)  # the target's first
    stage, state = started(data, sizes, hyper, a, c[::-1], factors=2, rounds=2)
    states, values = iterate(stage, state, data, hyper, 25)
  first, last = states[0], states[-1]
  # The means of the slabs are float32.
  np.testing.assert_allclose(values, expected['objective_trace'], rtol=1e-7)
  np.testing.assert_allclose(first.a, expected['after_1/A'], rtol=1e-7)
  np.testing.assert_allclose(first.h, expected['after_1/H'], rtol=1e-7)
  np.testing.assert_allclose(first.c[::-1], expected['after_1/C_scaled'], rtol=1e-7)
  for state, name in ((first, 'after_1'), (last, 'after_25')):
    ours = said(state.slabs[1])
    np.testing.assert_allclose(ours, expected[f'{name}/model_target'], rtol=1e-7)


def dense(ratings):
  """A slab `[U, items]` and which of its cells are known."""
  slab = np.zeros((ratings.n_users, ratings.n_items))
  known = np.zeros_like(slab, bool)
  slab[ratings.user, ratings.item] = ratings.value
  known[ratings.user, ratings.item] = True
  return slab, known


def dense_iterations(pair, a, h, c, hyper, rounds, times):
  """The models of both slabs after the algorithm on filled matrices."""
  slabs = [dense(pair.source), dense(pair.target)]
  weights = [hyper.source, 1.0]
  models = [np.full_like(x, x[known].mean()) for x, known in slabs]
  eye = np.eye(a.shape[1])
  for _ in range(times):
    full = [w * np.where(k, x, m) for (x, k), m, w in zip(slabs, models, weights)]
    qs = [x.T @ a @ np.diag(row) @ h.T for x, row in zip(full, c)]
    ps = []
    for q in qs:
      value, vector = np.linalg.eigh(q.T @ q)
      ps.append(q @ vector @ np.diag(value**-0.5) @ vector.T)
    ys = [x @ p for x, p in zip(full, ps)]
    for _ in range(rounds):
      right = sum(y @ h @ np.diag(row) for y, row in zip(ys, c))
      a = right @ np.linalg.inv((h.T @ h) * (c.T @ c) + hyper.lambda_a * eye)
      right = sum(y.T @ a @ np.diag(row) for y, row in zip(ys, c))
      h = right @ np.linalg.inv((a.T @ a) * (c.T @ c) + hyper.lambda_h * eye)
      gram = (a.T @ a) * (h.T @ h) + hyper.lambda_c * eye
      c = np.stack([np.linalg.solve(gram, np.diag(a.T @ y @ h)) for y in ys])
    models = [a @ np.diag(row) @ (p @ h).T / w for row, p, w in zip(c, ps, weights)]
  return models


@pytest.mark.parametrize('share', [0.0, 2.0])
def test_it_equals_the_algorithm_on_filled_matrices(share, monkeypatch):
  monkeypatch.setattr(sparse, 'DENSE', share)
  small = helpers.small()
  hyper = cdtf.Hyper(0.7, lambda_a=2.0, lambda_h=0.5, lambda_c=3.0)
  random = np.random.default_rng(0)
  a, c = (
    random.uniform(size=(small.sizes.users, 3)),
    random.uniform(size=(2, 3)),
  )
  with jax.enable_x64(True):
    stage, state = started(small.data, small.sizes, hyper, a, c, factors=3, rounds=4)
    states, _ = iterate(stage, state, small.data, hyper, 3)
  expected = dense_iterations(small.split.train, a, np.eye(3), c, hyper, 4, 3)
  for slab, theirs in zip(states[-1].slabs, expected):
    np.testing.assert_allclose(said(slab), theirs, atol=1e-5)


@pytest.mark.parametrize('weight', [0.1, 2.0])
def test_the_objective_never_rises(weight):
  small = helpers.small()
  reports = []
  loop.fit(
    cdtf.model(small.sizes, factors=6),
    jax.random.key(0),
    small.data,
    cdtf.Hyper(weight, 10.0, 1.0, 1.0),
    epochs=20,
    watch=lambda report, at: reports.append(report),
  )
  values = [report.metrics['loss'].item() for report in reports[1:]]
  assert len(values) == 20
  assert np.all(np.diff(values) < 0)


@pytest.mark.matrix
def test_the_items_of_a_domain_are_turned_to_fit_best():
  small = helpers.small()
  domain = small.data.target
  slab = cdtf.level(domain, 4)
  b = jax.random.normal(jax.random.key(1), (small.sizes.users, 4))
  p, y = cdtf.project(domain, slab, b)
  np.testing.assert_allclose(p.T @ p, np.eye(4), atol=1e-5)
  value, known = dense(small.split.train.target)
  full = np.where(known, value, value[known].mean())
  np.testing.assert_allclose(y, full @ p, rtol=1e-4)
  for seed in range(5):
    other = np.random.default_rng(seed).normal(size=p.shape)
    other = np.linalg.qr(np.asarray(p) + 0.1 * other)[0]
    assert np.linalg.norm(full - b @ p.T) < np.linalg.norm(full - b @ other.T)


@pytest.mark.matrix
def test_a_planted_taste_is_found_with_the_help_of_the_source():
  small = helpers.small(
    users=400,
    source=40,
    target=80,
    source_ratings=8000,
    target_ratings=6000,
    noise=0.2,
  )

  def best(model, hyper):
    return loop.fit(
      model,
      jax.random.key(0),
      small.data,
      hyper,
      epochs=60,
      valid=small.valid,
      measure=small.measure,
    ).best_value

  floor = best(bias.model(small.sizes), bias.Hyper())
  machine = cdtf.model(small.sizes, factors=6)
  with_source = best(machine, cdtf.Hyper(source=1.0))
  without = best(machine, cdtf.Hyper(source=1e-3))
  assert with_source < 0.95 * without
  assert with_source < 0.9 * floor


@pytest.mark.matrix
def test_with_weight_zero_the_source_says_nothing():
  small = helpers.small()
  source = small.split.train.source
  other = small.split.train._replace(
    source=source._replace(value=source.value[::-1].copy())
  )
  model = cdtf.model(small.sizes, factors=3)
  hyper = cdtf.Hyper(source=0.0)
  one, two = (
    loop.fit(model, jax.random.key(0), data, hyper, epochs=3).best_of()
    for data in (small.data, device.put(other))
  )
  np.testing.assert_allclose(said(one.slabs[1]), said(two.slabs[1]), atol=1e-3)
  assert np.std(said(one.slabs[1])) > 0.1


def test_ratings_of_the_source_are_explained_too():
  small = helpers.small()
  model = cdtf.model(small.sizes, factors=6)
  end = loop.fit(
    model, jax.random.key(0), small.data, cdtf.Hyper(source=0.5), epochs=20
  )
  rows = small.data.source.by_user
  score = model.predict_source(end.best_of(), small.data)
  left = score(rows.row, rows.column[:, None])[:, 0] - rows.value
  assert np.mean(left**2) < 0.5 * np.var(rows.value)


def test_who_rated_nothing_anywhere_is_not_trained():
  _, data, _ = helpers.golden_arrays()
  items = jnp.zeros((5, 2), int)
  everyone = jnp.arange(5)[:, None]
  # User 4 has no target ratings, but source ratings.
  assert np.all(cdtf.trained(data, everyone, items))
  nothing = data._replace(source=data.target)
  known = cdtf.trained(nothing, everyone, items)
  np.testing.assert_array_equal(known[:, 0], [True] * 4 + [False])


@pytest.mark.matrix
def test_an_iteration_costs_ratings_and_not_users_times_items():
  small = helpers.small(
    0,
    users=3000,
    source=50,
    target=4000,
    source_ratings=3000,
    target_ratings=6000,
  )
  hyper = cdtf.Hyper()
  model = cdtf.model(small.sizes, factors=4)
  state = helpers.jitted(model.stages[0].init)(jax.random.key(0), small.data, hyper, ())
  compiled = loop.epoch.lower(
    model.stages[0], state, jax.random.key(0), small.data, hyper
  ).compile()
  users_times_items = 4 * small.sizes.users * small.sizes.target
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < users_times_items / 4


@pytest.mark.matrix
def test_a_slab_of_nearly_rank_one_is_fitted():
  same = [[u, i, 3] for u in range(300) for i in range(4)]
  ratings = helpers.ratings_of(same, 300, 40)
  domain = device.domain(ratings)
  data = base.Arrays(domain, domain)
  model = cdtf.model(base.Sizes(300, 40, 40), factors=25)
  end = loop.fit(model, jax.random.key(0), data, cdtf.Hyper(), epochs=5)
  users = jnp.arange(300)
  said = model.predict(end.best_of(), data)(users, jnp.zeros((300, 1), int))
  np.testing.assert_allclose(said, 3, atol=0.1)

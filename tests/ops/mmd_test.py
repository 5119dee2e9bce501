import itertools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.ops import mmd

MEASURES = 'biased', 'paired_l2'


def samples(seed=0, users=6, latents=3):
  rng = np.random.default_rng(seed)
  x = rng.normal(0, 1, (users, latents))
  y = rng.normal(0.5, 2, (users, latents))
  return x, y, np.ones(users)


@jax.jit
def padded(x, y, weight):
  """The same users in the same order, with five rows of padding among them."""
  at = [0, 2, 2, 4, len(x)]
  return (
    jnp.insert(x, jnp.array(at), 7.0, axis=0),
    jnp.insert(y, jnp.array(at), -3.0, axis=0),
    jnp.insert(weight, jnp.array(at), 0.0),
  )


def by_loops(x, y):
  """`k(a, b)` of the points `a, b` of the pooled sample, pair by pair."""

  def squared(a, b):
    return sum((p - q) ** 2 for p, q in zip(a, b))

  scale = np.median([squared(a, b) for a, b in itertools.combinations([*x, *y], 2)])

  def kernel(a, b):
    widths = (1 / 4, 1 / 2, 1, 2, 4)
    return sum(np.exp(-squared(a, b) / (c * scale)) for c in widths) / 5

  return kernel


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64(True):
    yield


@pytest.mark.parametrize('name', MEASURES)
def test_values_are_those_of_another_implementation(name):
  expected = helpers.golden('golden_ranking')['mmd']
  x, y = jnp.array(expected['x']), jnp.array(expected['y'])
  got = helpers.jitted(getattr(mmd, name))(x, y, jnp.ones(4))
  np.testing.assert_allclose(got, expected[name], rtol=1e-12)


@pytest.mark.parametrize(
  ('name', 'argument', 'key'),
  [
    ('biased', 0, 'grad_x_biased'),
    ('biased', 1, 'grad_y_biased'),
  ],
)
def test_gradients_are_those_of_another_implementation(name, argument, key):
  expected = helpers.golden('golden_ranking')['mmd']
  x, y = jnp.array(expected['x']), jnp.array(expected['y'])
  got = helpers.jitted(jax.grad(getattr(mmd, name), argument))(x, y, jnp.ones(4))
  np.testing.assert_allclose(got, expected[key], atol=1e-12)


def test_the_bandwidth_is_that_of_another_implementation():
  expected = helpers.golden('golden_ranking')['mmd']
  points = np.concatenate([expected['x'], expected['y']])
  squared = np.sum((points[:, None] - points) ** 2, axis=-1)
  got = helpers.jitted(mmd.median_distance)(jnp.asarray(squared), jnp.ones(8))
  np.testing.assert_allclose(got, expected['median_sq_dist'], rtol=1e-15)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('points', [2, 3, 8, 13])
@pytest.mark.parametrize('ties', [False, True])
def test_the_median_is_numpys_to_the_last_bit(points, ties, dtype):
  rng = np.random.default_rng(points)
  real = np.arange(points) % 3 > 0 if points > 4 else np.ones(points, bool)
  squared = rng.gamma(1, 10, (points, points)).astype(dtype)
  squared = np.round(squared / 8) if ties else squared
  squared = np.triu(squared, 1) + np.triu(squared, 1).T
  between = squared[np.ix_(real, real)]
  expected = np.median(between[~np.eye(len(between), dtype=bool)])
  got = helpers.jitted(mmd.median_distance)(
    jnp.asarray(squared), jnp.asarray(real * 1.0)
  )
  assert got.dtype == dtype
  assert got == expected


def test_the_median_is_numpys_for_tiny_and_huge_distances():
  values = np.float32([0, 1e-30, 1, 1.0000001, 3e38, np.inf])
  for k, value in enumerate(values):
    assert helpers.jitted(mmd._smallest)(jnp.asarray(values[::-1]), k) == value


@pytest.mark.parametrize('users', [5, 6])
def test_the_discrepancy_against_loops_over_pairs(users):
  x, y, weight = samples(users=users)
  k = by_loops(x, y)
  every = list(itertools.product(range(users), repeat=2))
  within = np.mean([k(x[i], x[j]) + k(y[i], y[j]) for i, j in every])
  expected = within - 2 * np.mean([k(x[i], y[j]) for i, j in every])
  np.testing.assert_allclose(
    helpers.jitted(mmd.biased)(x, y, weight), expected, rtol=1e-10
  )


@pytest.mark.parametrize('users', [6, 7])
@pytest.mark.parametrize('name', MEASURES)
def test_a_padded_batch_measures_what_it_does_without(name, users):
  x, y, weight = samples(users=users)
  measure = jax.jit(getattr(mmd, name))
  np.testing.assert_allclose(
    measure(*padded(x, y, weight)), measure(x, y, weight), rtol=1e-12
  )

  def by_way_of_padding(x, y):
    return measure(*padded(x, y, weight))

  got = helpers.jitted(jax.grad(by_way_of_padding, (0, 1)))(x, y)
  expected = helpers.jitted(jax.grad(measure, (0, 1)))(x, y, weight)
  np.testing.assert_allclose(got, expected, atol=1e-13)


@pytest.mark.parametrize('users', [0, 1])
@pytest.mark.parametrize('name', MEASURES)
def test_batches_of_nobody_or_one_user_are_finite(name, users):
  x, y, _ = samples()
  weight = jnp.arange(6) < users
  value, gradients = helpers.jitted(jax.value_and_grad(getattr(mmd, name), (0, 1)))(
    x, y, weight * 1.0
  )
  assert np.isfinite(value)
  assert np.all(np.isfinite(gradients))
  assert users or value == 0


@pytest.mark.parametrize('name', MEASURES)
def test_a_sample_is_as_far_from_another_as_the_other_from_it(name):
  x, y, weight = samples()
  measure = helpers.jitted(getattr(mmd, name))
  np.testing.assert_allclose(measure(x, y, weight), measure(y, x, weight))


@pytest.mark.parametrize('name', MEASURES)
def test_a_sample_is_at_no_distance_from_itself(name):
  x, _, weight = samples()
  value, gradients = helpers.jitted(jax.value_and_grad(getattr(mmd, name), (0, 1)))(
    x, x, weight
  )
  np.testing.assert_allclose(value, 0, atol=1e-15)
  np.testing.assert_allclose(gradients, 0, atol=1e-15)


def held(scale):
  """A context in which the bandwidth is a constant."""
  return mock.patch.object(mmd, 'median_distance', lambda *_: scale)


def test_gradients_sum_to_zero_over_both_samples():
  x, y, weight = samples()
  gradients = helpers.jitted(jax.grad(mmd.biased, (0, 1)))(x, y, weight)
  assert np.abs(gradients).max() > 1e-3
  np.testing.assert_allclose(np.sum(gradients, axis=(0, 1)), 0, atol=1e-14)


def test_gradients_are_finite_differences_with_the_bandwidth_held():
  x, y, weight = samples(1)
  points = np.concatenate([x, y])
  squared = np.sum((points[:, None] - points) ** 2, axis=-1)
  got = helpers.jitted(jax.grad(mmd.biased))(x, y, weight)
  with held(np.median(squared[~np.eye(12, dtype=bool)])):
    measure = helpers.jitted(mmd.biased)
    for i, j in np.ndindex(x.shape):
      step = np.zeros_like(x)
      step[i, j] = 1e-5
      above, below = (measure(x + each, y, weight) for each in (step, -step))
      np.testing.assert_allclose(got[i, j], (above - below) / 2e-5, atol=1e-9)


def test_the_bandwidth_follows_samples_that_are_far_apart():
  x, y, weight = samples()
  followed = helpers.jitted(jax.grad(mmd.biased))(x, y + 1e3, weight)
  with held(2.0):
    fixed = helpers.jitted(jax.grad(mmd.biased))(x, y + 1e3, weight)
  assert np.all(np.sum(followed, axis=0) < -1e-6)  # Towards the other sample.
  np.testing.assert_allclose(np.sum(fixed, axis=0), 0, atol=1e-15)


def test_points_that_coincide_have_no_distance_and_no_gradient():
  x = jnp.full((4, 2), 0.3)
  value, gradient = helpers.jitted(jax.value_and_grad(mmd.biased))(x, x, jnp.ones(4))
  np.testing.assert_allclose(value, 0, atol=1e-15)
  np.testing.assert_allclose(gradient, 0, atol=1e-10)  # 1e-16 / FLOOR


def test_single_precision_is_close_to_double():
  batch = samples(users=64, latents=32)
  single = [np.float32(a) for a in batch]
  for name in MEASURES:
    measure = helpers.jitted(getattr(mmd, name))
    expected = measure(*batch)
    with jax.enable_x64(False):
      got = measure(*single)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-7)


def test_samples_of_different_shapes_are_refused():
  x, y, weight = samples()
  with pytest.raises(AssertionError):
    helpers.jitted(mmd.biased)(x, y[:, :2], weight)

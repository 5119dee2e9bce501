"""Sparse least squares against dense matrices."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import least_squares
from xdomain.data import device
from xdomain.ops import sparse

RNG = np.random.default_rng(0)
X = (RNG.random((31, 9)) < 0.3).astype(float)
X[4] = 0  # Somebody without anything.
Y = (RNG.random((31, 13)) < 0.2).astype(float)


def domain(matrix):
  """Its cells, with values that nobody is to read."""
  user, item = np.nonzero(matrix)
  events = np.stack([user, item, np.full_like(user, 7)], axis=1)
  return device.domain(helpers.ratings_of(events, *matrix.shape))


@pytest.fixture(params=[0.0, 2.0], autouse=True)
def both_routes(request, monkeypatch, full_products):
  """Entries and matrix products, in the precision of a run; no trace is kept."""
  monkeypatch.setattr(sparse, 'DENSE', request.param)
  jax.clear_caches()


def test_products_count_the_people_of_two_items(monkeypatch):
  monkeypatch.setattr(least_squares, 'BLOCK', 4)
  x, y = domain(X).by_item, domain(Y).by_item
  np.testing.assert_array_equal(least_squares.products(x, x), X.T @ X)
  np.testing.assert_array_equal(least_squares.products(x, y), X.T @ Y)


def test_people_of_weight_0_are_not_counted():
  weight = RNG.random(31) < 0.5
  x, y = domain(X).by_item, domain(Y).by_item
  np.testing.assert_array_equal(
    least_squares.products(x, y, jnp.asarray(weight)), X.T @ np.diag(weight) @ Y
  )


def test_sums_are_those_of_any_users_in_any_order():
  table = jnp.asarray(RNG.normal(size=(9, 3)))
  rows = domain(X).by_user
  expected = X @ np.asarray(table)  # jax would round the factors on a GPU.
  np.testing.assert_allclose(least_squares.sums(table, rows), expected, atol=1e-5)
  users = jnp.array([4, 30, 0, 30])
  ours = least_squares.of_anybody(table, rows)(users)
  np.testing.assert_allclose(ours, expected[users], atol=1e-5)


def test_matrices_side_by_side_are_one():
  several = [domain(each).by_user for each in (X, Y, X[:, :2])]
  rows = least_squares.side_by_side(several)
  assert least_squares.side_by_side(several[:1]) is several[0]
  expected = domain(np.concatenate([X, Y, X[:, :2]], axis=1)).by_user
  assert rows.n_columns == expected.n_columns and rows.longest >= expected.longest
  for name in ('start', 'row', 'column', 'value', 'order'):
    np.testing.assert_array_equal(getattr(rows, name), getattr(expected, name))


def test_systems_are_solved_alike_one_by_one_and_batched(monkeypatch):
  root = RNG.normal(size=(7, 5, 5))
  left = root @ root.transpose(0, 2, 1) + np.eye(5)
  right = RNG.normal(size=(7, 5))
  expected = np.linalg.solve(left, right[..., None])[..., 0]
  system = jnp.asarray(left), jnp.asarray(right)
  one_by_one = least_squares.solve(*system)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  batched = least_squares.solve(*system)
  np.testing.assert_allclose(one_by_one, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(batched, expected, rtol=1e-4, atol=1e-5)


def test_as_many_conjugate_gradient_steps_as_factors_are_exact():
  root = RNG.normal(size=(7, 5, 5))
  left = root @ root.transpose(0, 2, 1) + np.eye(5)
  right = RNG.normal(size=(7, 5))
  expected = np.linalg.solve(left, right[..., None])[..., 0]
  matrix = jnp.asarray(left)
  ours, residual = least_squares.conjugate_gradients(
    lambda x: jnp.einsum('bhk,bk->bh', matrix, x),
    jnp.asarray(right),
    jnp.zeros((7, 5)),
    steps=5,
  )
  np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(residual, 0, atol=1e-3)


@pytest.mark.parametrize('slots', [8, 1 << 15])
def test_a_function_by_length_sees_each_row_once_with_its_own_columns(
  monkeypatch, slots
):
  monkeypatch.setattr(least_squares, 'SLOTS', {'cpu': slots})
  monkeypatch.setattr(least_squares, 'SHORTEST', 2)
  rows = domain(X).by_user
  columns = jnp.arange(9.0)

  def moments(ids, column, observed):
    del ids
    seen = jnp.where(observed, columns[column] + 1, 0)
    return jnp.stack([observed.sum(1), seen.sum(1), (seen**2).sum(1)], axis=1)

  ours = least_squares.by_length(rows, moments, 1)
  expected = [X.sum(1), X @ (np.arange(9) + 1), X @ (np.arange(9) + 1) ** 2]
  np.testing.assert_array_equal(ours, np.stack(expected, axis=1))


def test_classes_cover_all_lengths_and_pad_no_row_to_more_than_twice():
  ranges = least_squares.classes(4096)
  assert ranges[0][1] == 4096 and ranges[-1] == (0, least_squares.SHORTEST)
  for (shortest, longest), (_, following) in itertools.pairwise(ranges):
    assert following == shortest - 1 == longest // 2


def test_an_inverse_is_the_inverse_also_where_it_is_mapped():
  root = RNG.normal(size=(3, 6, 6))
  matrix = jnp.asarray(root @ root.transpose(0, 2, 1) + np.eye(6))
  for mapped in (jax.vmap, lambda f: lambda m: jax.lax.map(f, m)):
    ours = jax.jit(mapped(least_squares.inverse))(matrix)
    np.testing.assert_allclose(ours, np.linalg.inv(matrix), atol=1e-4)


@pytest.mark.parametrize('extra', [0.0, 3.0])
def test_errors_are_of_all_cells(extra):
  left, right = RNG.normal(size=(31, 3)), RNG.normal(size=(9, 3))
  expected = (1 + extra * X) * (X - left @ right.T) ** 2
  ours = least_squares.squared_error(
    jnp.asarray(left), jnp.asarray(right), domain(X).by_user, extra
  )
  np.testing.assert_allclose(ours, expected.sum(axis=1), rtol=1e-4)


@pytest.mark.parametrize(
  'users, items, over_users',
  [
    (1_348, 2_562, False),
    (930, 12_026, True),
    (5_000, 100_000, True),
    (100_000, 20_000, False),
    (20_000, 20_001, True),
  ],
)
def test_a_closed_form_is_solved_over_users_where_that_fits_or_is_far_cheaper(
  users, items, over_users
):
  assert least_squares.over_users('ease', users, items) == over_users


def test_too_many_users_and_items_are_refused_in_words():
  with pytest.raises(ValueError, match='20,001 users and 20,002 items are too many'):
    least_squares.over_users('ease', 20_001, 20_002)

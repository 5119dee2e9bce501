import jax.numpy as jnp
import numpy as np

from xdomain.ops import losses, sparse


def test_squared_error_by_hand():
  entries = sparse.Entries(
    jnp.array([0, 0, 1]),
    jnp.array([3, 4, 0]),
    jnp.array([5.0, 2.0, 0.0]),
    jnp.array([1.0, 1.0, 0.0]),
  )
  error = losses.squared_error(jnp.array([4.0, 4.0, 9.0]), entries)
  assert error == 1 + 4


def test_binary_cross_entropy_is_the_textbook_form():
  logit = np.array([-2.0, 0.0, 3.0])
  p = 1 / (1 + np.exp(-logit))
  for label in (0, 1):
    expected = -label * np.log(p) - (1 - label) * np.log(1 - p)
    np.testing.assert_allclose(
      losses.binary_cross_entropy(jnp.asarray(logit), label), expected, 1e-6
    )


def test_binary_cross_entropy_is_finite_for_any_logit():
  loss = losses.binary_cross_entropy(jnp.array([-1e4, 1e4]), 1.0)
  np.testing.assert_allclose(loss, [1e4, 0])


def test_squared_norm_goes_over_all_leaves():
  tree = {'a': jnp.array([3.0]), 'b': (jnp.array([[4.0]]),)}
  assert losses.squared_norm(tree) == 25

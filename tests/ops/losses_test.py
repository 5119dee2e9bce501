import jax
import jax.numpy as jnp
import numpy as np

from tests import helpers
from xdomain.ops import losses


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


def test_ridge_has_the_gradient_of_the_squared_norm_and_no_value():
  tree = {'a': jnp.array([3.0, -1.0])}

  def explicit(tree, strength):
    return strength * jnp.sum(tree['a'] ** 2)

  for strength in (0.0, 0.7):
    assert losses.ridge(tree, strength) == 0
    ours, theirs = (
      helpers.jitted(jax.grad(f))(tree, jnp.float32(strength))['a']
      for f in (losses.ridge, explicit)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_the_gradient_of_a_scaled_ridge_is_scaled():
  from xdomain.ops import losses

  gradient = helpers.jitted(jax.grad(lambda x: 3 * losses.ridge(x, 0.5)))(
    jnp.array([1.0, -2])
  )
  np.testing.assert_allclose(gradient, [3, -6])

import jax
import jax.numpy as jnp
import numpy as np

from tests import helpers
from xdomain.ops import reversal


def test_forward_is_the_identity():
  x = jnp.array([1.0, -2.0])
  np.testing.assert_array_equal(reversal.reverse_gradient(x, 0.7), x)


def test_the_gradient_comes_back_times_minus_the_strength():
  def loss(x, strength):
    return jnp.sum(reversal.reverse_gradient(x, strength) ** 3)

  gradient = helpers.jitted(jax.grad(loss))(jnp.array([1.0, -2.0]), 0.5)
  np.testing.assert_allclose(gradient, [-0.5 * 3, -0.5 * 12])


def test_the_strength_may_be_traced_and_swept():
  def loss(x, strength):
    return jnp.sum(reversal.reverse_gradient({'x': x}, strength)['x'] ** 2)

  strengths = jnp.array([0.0, 1.0, 2.0])
  gradients = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(jnp.array([3.0]), strengths)
  np.testing.assert_allclose(gradients[:, 0], -6 * strengths)


def test_it_equals_the_form_with_a_stopped_gradient():
  stop = jax.lax.stop_gradient

  def other(x, mu):
    return stop((1 + mu) * x) - mu * x

  x = jnp.array([0.3, 2.0])
  for function in (reversal.reverse_gradient, other):
    value, pull = jax.vjp(lambda x, f=function: jnp.sin(f(x, 0.7)), x)
    np.testing.assert_allclose(value, jnp.sin(x), rtol=1e-6)
    np.testing.assert_allclose(pull(jnp.ones(2))[0], -0.7 * jnp.cos(x), rtol=1e-6)

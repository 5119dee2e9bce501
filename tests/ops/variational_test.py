import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.ops import losses, sparse, variational

USERS, ITEMS, HIDDEN = 5, 23, 4
CHUNKS = pytest.mark.parametrize('chunk', [None, 1, 7, 22, ITEMS, 100])


def positives(x, padding=0):
  """The entries of a 0/1 matrix; values and padding that must not be read."""
  segment, column = np.nonzero(x)
  real = np.arange(segment.size + padding) < segment.size
  return sparse.Entries(
    np.pad(segment.astype(np.int32), (0, padding), mode='edge'),
    np.pad(column.astype(np.int32), (0, padding)),
    np.full(real.size, np.nan),
    real.astype(float),
  )


def problem():
  """Parameters, 0/1 interactions with a user of none, and users' weights."""
  rng = np.random.default_rng(0)
  x = rng.random((USERS, ITEMS)) < 0.3
  x[2] = 0
  shapes = (USERS, HIDDEN), (ITEMS, HIDDEN), (ITEMS,)
  params = [jnp.asarray(rng.normal(0, 1, s), float) for s in shapes]
  return params, jnp.asarray(x, float), jnp.array([0.0, 0.5, 1.0, 1.0, 1.0])


def textbook(hidden, table, bias, x, beta, weight):
  """SharedVAE eq. 8 as it is printed, in probabilities."""
  p = 1 / (1 + jnp.exp(-(hidden @ table.T + bias)))
  cells = (1 + beta) * x * jnp.log(p) + (1 - x) * jnp.log(1 - p)
  return -jnp.sum(weight[:, None] * cells)


def of_logits(logits, x, beta, weight):
  """The reconstruction where the logits themselves are the parameters."""
  items = logits.shape[1]
  return variational.reconstruction(
    logits, jnp.eye(items), jnp.zeros(items), positives(x), beta, weight
  )


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64(True):
    yield


def assert_trees_close(a, b, **tolerance):
  def check(x, y):
    np.testing.assert_allclose(x, y, **tolerance)

  jax.tree.map(check, a, b)


def test_the_divergence_is_that_of_another_implementation():
  expected = helpers.golden('golden_ranking')['kl']
  mean, logvar = jnp.array(expected['mu']), jnp.array(expected['logvar'])
  got = helpers.jitted(variational.kl_to_standard_normal)(mean, logvar)
  np.testing.assert_allclose(got, expected['per_user'], rtol=1e-12)

  def total(mean, logvar):
    return jnp.sum(variational.kl_to_standard_normal(mean, logvar))

  gradients = helpers.jitted(jax.grad(total, (0, 1)))(mean, logvar)
  np.testing.assert_allclose(gradients[0], expected['grad_mu_of_sum'])
  np.testing.assert_allclose(gradients[1], expected['grad_logvar_of_sum'])


def test_the_standard_normal_diverges_from_itself_by_nothing():
  zero = jnp.zeros((3, 2))
  got = helpers.jitted(variational.kl_to_standard_normal)(zero, zero)
  np.testing.assert_array_equal(got, np.zeros(3))


def test_the_divergence_is_the_mean_difference_of_log_densities():
  rng = np.random.default_rng(0)
  mean, logvar = 0.5, -0.7
  z = mean + np.exp(logvar / 2) * rng.standard_normal(1_000_000)
  own = -0.5 * (logvar + (z - mean) ** 2 / np.exp(logvar))
  sampled = np.mean(own - -0.5 * z**2)
  got = helpers.jitted(variational.kl_to_standard_normal)(
    jnp.array([[mean]]), jnp.array([[logvar]])
  )
  np.testing.assert_allclose(got, [sampled], atol=3e-3)


def test_the_reconstruction_is_that_of_another_implementation():
  expected = helpers.golden('golden_ranking')['wbce']
  logits, x = jnp.array(expected['logits']), np.array(expected['x'])
  for_each_user = jax.jit(
    jax.vmap(lambda beta, weight: of_logits(logits, x, beta, weight), (None, 0))
  )
  for beta, key in (
    (2.0, 'per_user_sum'),
    (0.0, 'per_user_beta0'),
    (90.0, 'per_user_beta90'),
  ):
    got = for_each_user(beta, jnp.eye(3))
    np.testing.assert_allclose(got, expected[key], rtol=1e-12)
  total = jax.jit(lambda logits: of_logits(logits, x, 2.0, jnp.ones(3)))
  gradient = jax.grad(total)(logits)
  np.testing.assert_allclose(gradient, expected['grad_logits_of_sum'], rtol=1e-12)


@pytest.mark.parametrize('double', [False, True])
@pytest.mark.parametrize('positive', [0, 1])
def test_extreme_logits_are_exact(positive, double):
  expected = helpers.golden('golden_ranking')['wbce']
  with jax.enable_x64(double):
    x = np.full((1, 2), positive)
    total = jax.jit(lambda logits: of_logits(logits, x, 2.0, jnp.ones(1)))
    value, slope = jax.value_and_grad(total)(jnp.array([expected['extreme_logits']]))
  assert value == sum(expected[f'extreme_beta2_target{positive}'])
  np.testing.assert_array_equal(slope, [[[1, 0], [0, -3]][positive]])


@CHUNKS
@pytest.mark.parametrize('padding', [0, 9])
def test_values_and_gradients_are_the_textbooks(chunk, padding):
  params, x, weight = problem()
  entries = positives(x, padding)

  def ours(*params):
    return 0.3 * variational.reconstruction(*params, entries, 2.5, weight, chunk=chunk)

  def theirs(*params):
    return 0.3 * textbook(*params, x, 2.5, weight)

  got, expected = (
    helpers.jitted(jax.value_and_grad(f, (0, 1, 2)))(*params) for f in (ours, theirs)
  )
  assert_trees_close(got, expected, rtol=1e-11, atol=1e-12)
  np.testing.assert_allclose(jax.jit(ours)(*params), expected[0], rtol=1e-12)


@CHUNKS
def test_blocks_change_single_precision_by_rounding_only(chunk):
  with jax.enable_x64(False):
    params, x, weight = problem()
    entries = positives(x)

    def loss(chunk, *params):
      return variational.reconstruction(*params, entries, 90.0, weight, chunk=chunk)

    gradient = jax.jit(jax.value_and_grad(loss, (1, 2, 3)), static_argnums=0)
    whole, blocks = (gradient(c, *params) for c in (ITEMS, chunk))
    assert_trees_close(blocks, whole, rtol=2e-5, atol=2e-5)


def test_without_beta_it_is_the_cross_entropy():
  params, x, weight = problem()
  hidden, table, bias = params
  cells = helpers.jitted(losses.binary_cross_entropy)(
    np.asarray(hidden) @ table.T + bias, x
  )
  np.testing.assert_allclose(
    helpers.jitted(variational.reconstruction)(*params, positives(x), 0.0, weight),
    np.sum(weight[:, None] * cells),
  )


def test_padded_users_change_nothing():
  (hidden, table, bias), x, weight = problem()
  extra = jnp.full((3, HIDDEN), 50.0)
  batches = (
    (hidden, positives(x), weight),
    (
      jnp.concatenate([hidden, extra]),
      positives(np.vstack([x, np.ones((3, ITEMS))])),
      jnp.concatenate([weight, jnp.zeros(3)]),
    ),
  )

  def loss(table, bias, hidden, entries, weight):
    return variational.reconstruction(hidden, table, bias, entries, 2.0, weight)

  gradient = jax.jit(jax.value_and_grad(loss, (0, 1)))
  plain, wider = (gradient(table, bias, *batch) for batch in batches)
  assert_trees_close(wider, plain, rtol=1e-12)


@pytest.mark.matrix
def test_beta_may_be_traced_and_swept():
  params, x, weight = problem()

  def loss(params, beta):
    return variational.reconstruction(*params, positives(x), beta, weight, chunk=7)

  betas = jnp.array([0.0, 2.0, 90.0])
  gradient = jax.jit(jax.value_and_grad(loss))
  swept = jax.jit(jax.vmap(gradient, (None, 0)))(params, betas)
  for i, beta in enumerate(betas):
    member = jax.tree.map(lambda leaf, i=i: leaf[i], swept)
    assert_trees_close(member, gradient(params, beta), rtol=1e-12)


def test_what_is_data_has_no_gradient():
  params, x, weight = problem()

  def loss(beta, weight):
    return variational.reconstruction(*params, positives(x), beta, weight)

  for gradient in helpers.jitted(jax.grad(loss, (0, 1)))(2.0, weight):
    np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


def temporary(items, chunk):
  """Bytes that value and gradients take beside themselves, and beside a workspace.

  A GPU's matrix products have one of 32 MiB, however small they are.
  """
  return _temporary(items, chunk) - _temporary(8, 8)


def _temporary(items, chunk):
  users, hidden = 64, 2
  with jax.enable_x64(False):
    x = np.zeros((users, items), bool)
    x[:, 3] = True
    arguments = (
      jnp.zeros((users, hidden)),
      jnp.zeros((items, hidden)),
      jnp.zeros(items),
      positives(x),
      2.0,
      jnp.ones(users),
    )

    def loss(*arguments):
      return variational.reconstruction(*arguments, chunk=chunk)

    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*arguments).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def test_a_chunk_bounds_the_logits_that_are_held():
  items = 20_000
  whole, blocks = temporary(items, items), temporary(items, 500)
  batch_of_logits = 4 * 64 * items
  assert whole > batch_of_logits
  assert blocks < batch_of_logits / 4


def test_a_table_beyond_the_cache_is_walked_in_blocks_on_a_cpu(monkeypatch):
  monkeypatch.setattr(variational, 'CHUNK', {jax.default_backend(): 500})
  within = temporary(20_000, None)
  monkeypatch.setattr(variational, 'CACHE', 1000)
  assert temporary(20_000, None) < within / 4


def test_arrays_of_other_ranks_are_refused():
  (hidden, table, bias), x, weight = problem()
  with pytest.raises(AssertionError):
    variational.reconstruction(hidden, table, bias[None], positives(x), 2.0, weight)

import jax
import jax.numpy as jnp
import numpy as np

from tests import helpers
from xdomain.data import device, types
from xdomain.models import item_pop
from xdomain.training import loop


def test_a_score_is_the_number_of_training_users():
  events = [[0, 0, 1], [1, 0, 1], [1, 2, 1]]
  pair = types.Pair(helpers.ratings_of([], 3, 1), helpers.ratings_of(events, 3, 3))
  model, data = item_pop.model(device.sizes(pair)), device.put(pair)
  end = loop.fit(model, jax.random.key(0), data, item_pop.Hyper(), epochs=1).best_of()
  users = jnp.array([0, 2])  # The second is new.
  np.testing.assert_array_equal(
    helpers.scorer(model.predict_all)(end, data)(users), [[2, 0, 1], [2, 0, 1]]
  )
  ours = helpers.scorer(model.predict)(end, data)(users, jnp.array([[2, 0], [1, 0]]))
  np.testing.assert_array_equal(ours, [[1, 2], [0, 2]])


def test_what_is_shown_later_does_not_change_what_is_popular():
  small = helpers.implicit()
  model = item_pop.model(small.sizes)
  end = loop.fit(
    model, jax.random.key(0), small.data, item_pop.Hyper(), epochs=1
  ).best_of()
  blank = device.domain(helpers.ratings_of([], small.sizes.users, small.sizes.target))
  users = jnp.arange(small.sizes.users)
  np.testing.assert_array_equal(
    model.predict_all(end, small.data._replace(target=blank))(users)[0],
    small.data.target.by_item.length,
  )

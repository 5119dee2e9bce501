import numpy as np

from tests import helpers
from tests.data import toys
from xdomain.data import views
from xdomain.data.types import Pair


def test_merging_puts_target_items_first():
  both = views.merged(toys.aligned().pair)
  assert both.user.tolist() == [0, 1, 0, 1, 1, 0, 1]
  assert both.item.tolist() == [0, 1, 2, 0, 3, 4, 5]
  assert both.value.tolist() == [4, 3, 2, 1, 5, 4, 2]
  assert (both.n_users, both.n_items) == (2, 6)
  assert both.item.dtype == np.int32
  assert both.time.size == 7


def test_merging_with_a_domain_without_times_has_no_times():
  pair = toys.aligned().pair
  untimed = pair.source._replace(time=np.zeros(0, np.int64))
  assert views.merged(pair._replace(source=untimed)).time.size == 0


def test_alone_empties_the_source_and_keeps_its_size():
  pair = toys.aligned().pair
  source, target, _ = views.alone(pair)
  assert source.user.size == source.time.size == 0
  assert source.user.dtype == np.int32
  assert (source.n_users, source.n_items) == (2, 3)
  assert target is pair.target


def test_merged_items_of_domains_of_unequal_size_do_not_collide():
  pair = Pair(
    helpers.ratings_of([[0, 0, 1], [1, 1, 2]], 2, 2),
    helpers.ratings_of([[0, 4, 3], [1, 2, 4]], 2, 5),
  )
  both = views.merged(pair)
  assert both.item.tolist() == [4, 2, 5, 6]
  assert both.n_items == 7

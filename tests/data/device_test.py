import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device, splits, synthetic, types


def dense(rows):
  matrix = np.zeros((rows.n_rows, rows.n_columns))
  matrix[rows.row, rows.column] = rows.value
  return matrix


def test_rows_hold_the_ratings_in_order_whatever_order_they_came_in():
  events = [[2, 1, 5], [0, 3, 1], [2, 0, 4], [0, 0, 2]]
  domain = device.domain(helpers.ratings_of(events, 4, 5))
  expected = np.zeros((4, 5))
  for user, item, value in events:
    expected[user, item] = value
  np.testing.assert_array_equal(dense(domain.by_user), expected)
  np.testing.assert_array_equal(dense(domain.by_item), expected.T)
  np.testing.assert_array_equal(domain.by_user.start, [0, 2, 2, 4, 4])
  np.testing.assert_array_equal(domain.by_user.column, [0, 3, 0, 1])
  np.testing.assert_array_equal(domain.by_user.length, [2, 0, 2, 0])
  np.testing.assert_array_equal(domain.by_user.order, [0, 2, 1, 3])
  assert domain.by_user.mean() == 3


def test_an_empty_domain_is_possible():
  rows = device.domain(helpers.ratings_of([], 3, 2)).by_user
  assert rows.n_entries == 0
  assert rows.mean() == 0
  batch = helpers.jitted(rows.batches, static_argnums=1)(jax.random.key(0), 2)[0]
  entries = helpers.jitted(rows.entries)(batch)
  assert np.all(entries.weight == 0)


def test_every_entry_is_visited_once_an_epoch():
  for rows in helpers.small().data.target:
    visits = helpers.jitted(rows.batches, static_argnums=1)(jax.random.key(0), 7)
    entries_of = helpers.jitted(rows.entries)
    total = np.zeros((rows.n_rows + 1, rows.n_columns))
    for visit in visits:
      entries = entries_of(visit)
      np.add.at(
        total,
        (visit[entries.segment], entries.column),
        entries.value * entries.weight,
      )
    np.testing.assert_array_equal(total[:-1], dense(rows))


def test_shuffled_events_are_all_entries_each_once():
  rows = helpers.small().data.target.by_user
  visits = helpers.jitted(rows.shuffled, static_argnums=1)(jax.random.key(0), 64)
  events = helpers.jitted(rows.events)(visits.reshape(-1))
  seen = np.zeros((rows.n_rows, rows.n_columns))
  np.add.at(seen, (events.row, events.column), events.value)
  np.testing.assert_array_equal(seen, dense(rows))
  assert events.weight.sum() == rows.n_entries
  assert np.all(events.value[events.weight == 0] == 0)


def test_an_empty_domain_has_no_events():
  rows = device.domain(helpers.ratings_of([], 3, 4)).by_user
  events = rows.events(rows.shuffled(jax.random.key(0), 8)[0])
  assert not np.any(events.weight) and not np.any(events.value)


def test_expected_entries_add_up_to_all_of_them():
  rows = helpers.small().data.target.by_user
  visits = rows.batches(jax.random.key(0), 7)
  expected = sum(float(rows.expected(visit)) for visit in visits)
  np.testing.assert_allclose(expected, rows.n_entries, rtol=1e-5)


def test_a_function_of_all_rows_is_given_in_their_order():
  rows = helpers.small().data.target.by_item
  np.testing.assert_array_equal(
    rows.for_all(lambda ids: ids * 10, batch=7), np.arange(rows.n_rows) * 10
  )


@pytest.mark.parametrize('batch', [1, 7, 16, 60, 100])
def test_people_are_visited_together_and_no_entry_is_lost(batch):
  data = helpers.small().data
  people = base.Together(data.source.by_user, data.target.by_user)
  seen = [np.zeros_like(dense(rows)) for rows in people.rows]
  batches = helpers.jitted(people.batches, static_argnums=1)
  entries_of = helpers.jitted(people.entries)
  for ids in batches(jax.random.key(0), batch):
    for matrix, entries in zip(seen, entries_of(ids)):
      assert np.all(np.isfinite(entries.value))
      user = np.append(ids, 0)[entries.segment]
      user = np.minimum(user, matrix.shape[0] - 1)
      np.add.at(matrix, (user, entries.column), entries.value)
  for matrix, rows in zip(seen, people.rows):
    np.testing.assert_array_equal(matrix, dense(rows))


def test_a_function_of_all_people_is_given_in_their_order():
  data = helpers.small().data
  people = base.Together(data.source.by_user, data.target.by_user)
  np.testing.assert_array_equal(people.for_all(lambda ids: ids, batch=7), np.arange(60))


def test_stacked_splits_are_the_splits_with_room_for_the_longest_rows():
  every = [helpers.small(split=split).data for split in (0, 1, 2)]
  stacked = device.stack(every)
  rows = stacked.target.by_user
  for at, data in enumerate(every):
    own = data.target.by_user
    for one, two in zip(jax.tree.leaves(rows), jax.tree.leaves(own)):
      np.testing.assert_array_equal(one[at], two)
  for name in ('longest', 'shared'):
    most = max(getattr(data.target.by_user, name) for data in every)
    assert getattr(rows, name) == most


def test_splits_of_one_data_set_share_their_programs():
  chex.clear_trace_counter()

  @jax.jit
  @chex.assert_max_traces(n=1)
  def seen(data):
    users = base.Together(data.source.by_user, data.target.by_user)
    ids = users.batches(jax.random.key(0), 16)[0]
    return [entries.weight.sum() for entries in users.entries(ids)]

  for split in range(5):
    pair = helpers.small(seed=1, split=split)
    assert all(np.isfinite(seen(pair.data)))


def test_people_of_stacked_splits_are_visited_together_and_none_is_lost():
  every = [helpers.small(split=split).data for split in (0, 1, 2)]
  stacked = device.stack(every)

  def sums(data):
    people = base.Together(data.source.by_user, data.target.by_user)
    visits = people.batches(jax.random.key(0), 7)
    return jax.lax.map(
      lambda ids: [entries.value.sum() for entries in people.entries(ids)],
      visits,
    )

  for at, data in enumerate(every):
    one = jax.tree.map(lambda leaf, at=at: jnp.asarray(leaf[at]), stacked)
    for ours, theirs in zip(sums(one), sums(data)):
      np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_splits_of_other_sizes_are_not_stacked():
  first, other = helpers.small().data, helpers.small(target_ratings=900).data
  assert not device.alike([first, other])
  with pytest.raises(ValueError, match='different size'):
    device.stack([first, other])


def test_held_out_values_reach_neither_training_data_nor_other_queries():
  pair = synthetic.pair(0).pair
  split = splits.by_ratio(pair, 0)
  test = split.test.target
  held = {*zip(test.user.tolist(), test.item.tolist())}
  ratings = pair.target
  touched = np.array(
    [ui in held for ui in zip(ratings.user.tolist(), ratings.item.tolist())]
  )
  assert touched.sum() == test.user.size
  value = np.where(touched, 6 - ratings.value, ratings.value)
  other = splits.by_ratio(pair._replace(target=ratings._replace(value=value)), 0)
  for one, two in zip(
    jax.tree.leaves((device.put(split.train), split.valid)),
    jax.tree.leaves((device.put(other.train), other.valid)),
  ):
    np.testing.assert_array_equal(one, two)
  assert np.any(other.test.target.value != test.value)


def test_queries_ask_for_one_rating_each():
  held = helpers.small().split.test.target
  queries = device.rating_queries(held)
  np.testing.assert_array_equal(queries.item[:, 0], held.item)
  np.testing.assert_array_equal(queries.gain[:, 0], held.value)
  assert queries.mask.all()


def test_the_mean_is_over_entries():
  rows = device.domain(helpers.ratings_of([[0, 0, 2], [0, 1, 4]], 3, 3)).by_user
  assert rows.mean() == 3


def test_a_members_data_is_mirrored_with_its_vectors():
  side = jnp.arange(8.0).reshape(2, 2, 2)
  data = base.Arrays('source', 'target', side)
  source, target, mirrored = data.mirrored()
  assert (source, target) == ('target', 'source')
  np.testing.assert_array_equal(mirrored[:, 0], side[:, 1])
  np.testing.assert_array_equal(mirrored[:, 1], side[:, 0])
  shared = base.Arrays('source', 'target', side[0]).mirrored().side
  np.testing.assert_array_equal(shared, side[0])


def test_a_resident_matrix_holds_the_same_cells():
  split = splits.by_ratio(synthetic.pair(0).pair, 0)
  rows = device.put(split.train).target.by_user
  kept = device.with_matrix(rows)
  ids = jnp.array([3, 0, rows.n_rows])  # The last is padding.
  cells = kept.observed(ids)
  expected = np.append(dense(rows), np.zeros((1, rows.n_columns)), axis=0)[ids]
  np.testing.assert_array_equal(cells.value, expected)
  np.testing.assert_array_equal(cells.weight, expected != 0)
  assert kept.code.dtype == np.uint8


def test_values_of_more_than_a_byte_keep_no_matrix():
  events = [[u, i, 20 * u + i] for u in range(20) for i in range(20)]
  rows = device.domain(helpers.ratings_of(events, 20, 20)).by_user
  assert device.with_matrix(rows) is rows


def test_a_cpu_keeps_entries_and_an_accelerator_a_matrix_where_it_fits(monkeypatch):
  class Device:
    platform = 'gpu'

    def memory_stats(self):
      return {'bytes_limit': 3_200_000}

  assert not device.has_matrix(100, 100, 5000)
  monkeypatch.setattr(jax, 'local_devices', lambda: [Device()])
  assert device.has_matrix(100, 1000, 5000)
  assert not device.has_matrix(100, 1000, 1000)  # Too sparse.
  assert not device.has_matrix(1000, 1000, 500_000)  # Too large.


def test_the_size_of_a_pair_is_the_bytes_of_its_arrays():
  pair = synthetic.pair(0).pair
  found = sum(leaf.nbytes for leaf in jax.tree.leaves(device.put(pair)))
  assert 0 <= found - device.size(pair) <= 4 * 4  # A row's end for each matrix.


def test_more_than_indices_count_is_refused(monkeypatch):
  pair = synthetic.pair(0).pair
  some = pair.source.user[:9], pair.source.item[:9], pair.source.value[:9]
  monkeypatch.setattr(device, 'MOST', 59)
  with pytest.raises(types.DataError, match='interactions of all domains'):
    device.put(pair)
  with pytest.raises(types.DataError, match='60 users or items are more than the 59'):
    device.rows(*some, n_rows=60, n_columns=40)

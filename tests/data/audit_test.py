"""The audit finds leaks that were planted, and none where there is none."""

import json
import time

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from tests import helpers
from xdomain.data import align, audit, splits, synthetic, twins, types, views
from xdomain.reporting import audits

CLEAN = synthetic.implicit(0, users=150, source=40, target=50)


def dataset(pair, ids=CLEAN.ids):
  return types.Dataset('planted', pair, ids, (0.0, 1.0), ())


def with_twin(k=0):
  """The clean pair, and a source item with the users of target item `k`."""
  pair, ids = CLEAN.pair, CLEAN.ids
  source, target = pair.source, pair.target
  users = target.user[target.item == k]
  source = source._replace(
    user=np.append(source.user, users),
    item=np.append(source.item, np.full(users.size, source.n_items, np.int32)),
    value=np.append(source.value, np.ones(users.size, np.float32)),
    time=np.append(source.time, np.zeros(users.size, int)),
    n_items=source.n_items + 1,
  )
  ids = ids._replace(source=types.texts([*ids.source.tolist(), 'twin']))
  return dataset(pair._replace(source=source), ids), users


def test_a_clean_pair_has_no_fault():
  found = audit.audit(CLEAN, splits.leave_one_out(CLEAN))
  assert not found.faults
  assert found['twins'].count == found['reachable'].count == 0


def test_a_planted_twin_is_found_with_all_that_it_gives_away():
  pair, users = with_twin()
  split = splits.leave_one_out(pair)
  found = audit.audit(pair, split)
  assert found.twins == (('twin', str(pair.ids.target[0]), 1.0),)
  assert found['reachable'].count == users.size
  tested = np.sum(split.test.target.item == 0)
  assert found['test_reachable'].count == tested > 0
  assert {each.name for each in found.faults} >= {'reachable', 'test_reachable'}
  share = f'{tested / split.test.target.user.size:.2%} of the tested ones'
  assert share in audit.summary(pair, split)


def test_items_with_the_id_of_a_target_item_count_if_their_users_are_alike():
  pair, users = with_twin()
  first = str(CLEAN.ids.target[0])
  names = [*CLEAN.ids.source.tolist(), first]
  shared = pair._replace(ids=pair.ids._replace(source=types.texts(names)))
  found = audit.audit(shared)
  assert (found['shared_items'].count, found['twins'].count) == (1, 0)
  assert found['reachable'].count == users.size
  names = [*CLEAN.ids.target.tolist()[: CLEAN.pair.source.n_items], 'twin']
  chance = pair._replace(ids=pair.ids._replace(source=types.texts(names)))
  found = audit.audit(chance)
  assert found['shared_items'].count == len(names) - 1
  assert 'by chance' in found['shared_items'].text
  assert found['reachable'].count == users.size  # By the twin alone.


@pytest.mark.parametrize('fault', ['valid_is_test', 'test_trained'])
def test_a_test_item_that_is_validated_or_trained_on_is_found(fault):
  split = splits.leave_one_out(CLEAN)
  planted = {
    'valid_is_test': split._replace(valid=split.test),
    'test_trained': split._replace(train=CLEAN.pair),
  }
  found = audit.audit(CLEAN, planted[fault])
  assert found[fault].count == split.test.target.user.size
  assert fault in [each.name for each in found.faults]


def test_repeated_interactions_and_equal_histories_are_found():
  source = helpers.ratings_of(
    [[u, i, 1] for u in range(4) for i in (2 * (u // 3), 1)], 4, 3
  )
  target = helpers.ratings_of([[0, 0, 1], [0, 0, 1], [1, 0, 1], [2, 0, 1]], 4, 1)
  ids = types.Ids(*map(types.texts, ('abcd', 'stu', 'x')))
  found = audit.audit(dataset(types.Pair(source, target), ids))
  assert found['duplicates'].count == 1
  assert (found['identical_users'].count, found['identical_users'].of) == (2, 3)


def test_what_is_ranked_is_compared_by_popularity():
  split = splits.leave_one_out(CLEAN, negatives=5)
  found = audit.audit(CLEAN, split)
  count = np.bincount(split.train.target.item, minlength=CLEAN.pair.target.n_items)
  test = split.test.target
  assert found['popularity_of_positives'].count == pytest.approx(
    count[test.item].mean(), abs=0.01
  )
  assert found['popularity_of_negatives'].count == pytest.approx(
    count[test.negatives].mean(), abs=0.01
  )


def test_an_audit_is_a_page_and_json():
  pair, _ = with_twin()
  found = audit.audit(pair, splits.leave_one_out(pair))
  text = audits.markdown(found)
  assert '**Faults:**' in text and '| `twin` |' in text
  plain = json.loads(json.dumps(found.as_json()))
  assert plain['findings']['twins']['count'] == 1
  assert sum(plain['buckets']['users of a target item'].values()) == 43


# --- Twins ------------------------------------------------------------------


@hypothesis.given(
  strategies.integers(0, 2**32), strategies.sampled_from([1, 64, 1 << 24])
)
@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
def test_twins_are_those_of_a_comparison_of_all_pairs(seed, products):
  rng = np.random.default_rng(seed)
  users = 40

  def domain(copied=None):
    sizes = rng.integers(1, 12, size=8)
    sets = [set(rng.choice(users, n, replace=False).tolist()) for n in sizes]
    if copied is not None:  # Some items nearly share the users of others.
      sets[:4] = [s ^ {int(rng.integers(users))} for s in copied[:4]]
    return sets

  of_s = domain()
  of_t = domain(of_s)
  source, target = (
    helpers.ratings_of([[u, i, 1] for i, s in enumerate(sets) for u in s], users, 8)
    for sets in (of_s, of_t)
  )
  shared = set(source.user.tolist()) & set(target.user.tolist())
  pairs = {
    (i, j)
    for i, one in enumerate(s & shared for s in of_s)
    for j, other in enumerate(s & shared for s in of_t)
    if len(other) >= 3 and len(one & other) >= 0.8 * len(one | other)
  }
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(twins, 'PRODUCTS', products)
    patch.setattr(twins, 'BY_CHANCE', np.inf)
    found = twins.twins(source, target)
  assert set(zip(found.source.tolist(), found.target.tolist())) == pairs


def test_items_that_all_users_have_are_no_twins():
  everything = helpers.ratings_of([[u, i, 1] for u in range(6) for i in range(5)], 6, 5)
  assert not twins.twins(everything, everything).source.size


def test_twins_of_many_interactions_are_found_in_time():
  """A hundredth of the ten million interactions of `benchmarks.audit`."""
  rng = np.random.default_rng(0)
  pair = [
    types.Ratings(
      rng.integers(5000, size=50_000, dtype=np.int32),
      rng.integers(3000, size=50_000, dtype=np.int32),
      np.ones(50_000, np.float32),
      np.zeros(0, int),
      5000,
      3000,
    )
    for _ in range(2)
  ]
  source, target = pair
  target = target._replace(item=np.where(target.item == 7, 8, target.item))
  copied = source.user[source.item == 3]
  target = target._replace(
    user=np.append(target.user, copied),
    item=np.append(target.item, np.full(copied.size, 7, np.int32)),
  )
  began = time.process_time()
  found = twins.twins(source, target)
  assert time.process_time() - began < 2
  assert (found.source.tolist(), found.target.tolist()) == ([3], [7])


def table_of(ratings, users, items, origin):
  return types.Table(ratings, users.tolist(), items.tolist(), origin)


def test_twins_leave_the_source_unless_they_are_kept():
  pair, _ = with_twin()
  users, source, target = pair.ids
  tables = (
    table_of(pair.pair.source, users, source, 'films.csv'),
    table_of(pair.pair.target, users, target, 'books.csv'),
  )
  dropped = align.align(*tables, scale=(0, 1), name='x')
  assert 'twin' not in dropped.ids.source.tolist()
  assert 'less 1 items that are in the target under another id' in dropped.trail[0][0]
  assert not audit.audit(dropped).faults
  kept = align.align(*tables, scale=(0, 1), twins='keep', name='x')
  assert 'twin' in kept.ids.source.tolist()
  assert views.per_user(kept.pair.source).sum() == pair.pair.source.user.size
  with pytest.raises(types.DataError, match="twins='away'"):
    align.align(*tables, scale=(0, 1), twins='away', name='x')

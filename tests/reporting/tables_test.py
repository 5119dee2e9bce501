import pytest

from tests.helpers import ranking_record, rating_record
from xdomain.reporting import records, tables


def test_an_interval_by_hand():
  found = tables.estimate([1.0, 2.0, 3.0])
  # sd 1, standard error 1 / sqrt 3, and 4.303 the t quantile of 2 degrees.
  assert found.mean == 2
  assert found.half == pytest.approx(4.303 / 3**0.5, rel=1e-3)
  assert found.short() == '2.0000 ± 2.4841'


def test_an_interval_stays_within_the_bounds_of_its_measure():
  gains = [ranking_record(seed=s, gain=g) for s, g in enumerate((0.1, 0.9, 0.1))]
  found = tables.of_records(gains, 'full hr@10')
  assert (found.low, found.high) == (0, 1) and found.half is None
  assert found.short() == '0.3667 (0.0000 to 1.0000)'
  errors = [rating_record(seed=s, rmse=e) for s, e in enumerate((0.1, 0.9, 0.1))]
  assert tables.of_records(errors, 'rmse').low == 0


def test_one_or_two_seeds_have_the_interval_over_users_and_say_so():
  pair = [ranking_record(seed=s, gain=g) for s, g in enumerate((0.2, 0.3))]
  one, two = (tables.of_records(pair[:n], 'sampled hr@10') for n in (1, 2))
  assert str(one) == '0.2000 (0.1000 to 0.3000 over users)' == one.short()
  assert str(two) == '0.2500 (0.1500 to 0.3500 over users)'
  assert str(tables.estimate([0.19, 0.25])) == '0.2200'


def test_methods_are_rows_with_their_mean_over_seeds():
  of_a = [rating_record('a', s, 1 + s / 10) for s in range(3)]
  ((one, two),) = tables.over_seeds([*of_a, rating_record('b', 0, 2)])
  assert (one['method'], one['seeds'], two['method']) == ('a', '3', 'b')
  assert one['RMSE'].startswith('1.1000 (')
  assert one['parameters'] == '1,000' and one['seconds'] == '0'


def test_ratings_and_rankings_are_tables_of_their_own():
  mixed = [rating_record('bias'), ranking_record('ease')]
  rated, ranked = tables.over_seeds(mixed)
  assert [row['method'] for row in rated] == ['bias'] and 'RMSE' in rated[0]
  assert [row['method'] for row in ranked] == ['ease'] and 'NDCG@10' in ranked[0]
  assert tables.differences(mixed) == []


def test_differences_are_taken_on_shared_splits():
  found = [rating_record('a', s, 1 + s) for s in range(4)]
  found += [rating_record('b', s, 1.5 + s) for s in (0, 1, 2, 7)]
  ((row,),) = tables.differences(found)
  assert row == {
    'method': 'b',
    'minus': 'a',
    'difference in RMSE': '0.5000 (0.5000 to 0.5000)',
  }


def test_differences_of_one_seed_are_uncertain_over_users():
  sums = [[1.0] * 40, [1.0] * 40, [1.44] * 20 + [1.0] * 20]
  found = [
    rating_record(name, 0, (sum(of) / 40) ** 0.5)
    | {'by_user': {'n': [1] * 40, 'rmse': of}}
    for name, of in zip('abc', sums)
  ]
  ((same, worse, _),) = tables.differences(found)
  assert same['difference in RMSE'] == '0.0000 (0.0000 to 0.0000 over users)'
  gap = tables.difference([found[2]], [found[0]], 'rmse')
  assert gap.mean == pytest.approx(1.22**0.5 - 1)
  assert 0 < gap.low < gap.mean < gap.high
  assert gap.over == 'users' and worse['difference in RMSE'] == str(gap)


def test_differences_can_be_those_from_one_method():
  found = [rating_record(name, 0, rmse) for rmse, name in enumerate('abc')]
  (rows,) = tables.differences(found, against='b')
  assert [(row['method'], row['minus']) for row in rows] == [('a', 'b'), ('c', 'b')]
  assert [row['difference in RMSE'] for row in rows] == ['-1.0000', '1.0000']
  with pytest.raises(records.RecordError, match="'bb'; did you mean 'b'"):
    tables.differences(found, against='bb')


def test_rankings_have_a_row_of_every_cutoff():
  found = [rating_record()]
  found += [ranking_record(seed=s, gain=g) for s, g in enumerate((0.5, 0.7, 0.6))]
  (row,) = tables.at_cutoffs(found, 'full')
  assert list(row)[2:6] == ['HR@5', 'HR@10', 'HR@20', 'HR@50']
  assert (row['method'], row['seeds']) == ('r', '3')
  # Student's t of two degrees of freedom, 4.303 times .1 / sqrt 3.
  assert row['HR@5'] == row['NDCG@50'] == '0.6000 ± 0.2484'
  with pytest.raises(records.RecordError, match="'ful'; did you mean 'full'"):
    tables.at_cutoffs(found, 'ful')


def user_record(seed, n, errors):
  return {'seed': seed, 'by_user': {'n': n, 'rmse': errors}}


def test_a_gap_is_summed_over_the_seeds_that_both_have():
  ours = [user_record(0, [1, 2], [1.0, 4.0]), user_record(1, [1, 1], [2.0, 2.0])]
  theirs = [user_record(1, [1, 1], [1.0, 3.0]), user_record(2, [1, 1], [9.0, 9.0])]
  gap, queries = tables.user_gap(ours, theirs, 'rmse')
  assert gap.tolist() == [1.0, -1.0] and queries.tolist() == [1.0, 1.0]
  assert tables.user_gap(ours[:1], theirs, 'rmse') is None


def test_records_with_other_queries_of_a_user_are_not_paired():
  ours, theirs = (user_record(0, n, [1.0, 4.0]) for n in ([1, 2], [2, 1]))
  assert tables.user_gap([ours], [theirs], 'rmse') is None

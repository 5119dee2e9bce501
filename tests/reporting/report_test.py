import pytest

from xdomain.reporting import report


def record(name, seed, rmse, **config):
  return {
    'name': name,
    'seed': seed,
    'config': {'seed': seed, 'epochs': 5} | config,
    'hashes': {'split': f'split{seed}'},
    'test': {'rmse': rmse, 'mae': rmse / 2},
    'valid_rmse': rmse,
    'epoch': 3,
    'parameters': 1000,
    'seconds': 2.0,
    'time': 'then',
  }


def test_an_interval_by_hand():
  mean, low, high = report.estimate([1.0, 2.0, 3.0])
  # sd 1, standard error 1 / sqrt 3, and 4.303 the t quantile of 2 degrees.
  assert mean == 2
  assert high - mean == mean - low == pytest.approx(4.303 / 3**0.5, rel=1e-3)


def test_one_seed_has_no_interval():
  assert str(report.estimate([0.5])) == '0.5000'


def test_methods_are_rows_with_their_mean_over_seeds():
  records = [record('a', s, 1 + s / 10) for s in range(3)] + [record('b', 0, 2)]
  one, two = report.over_seeds(records)
  assert (one['method'], one['seeds'], two['method']) == ('a', '3', 'b')
  assert one['RMSE'].startswith('1.1000 (')


def test_differences_are_of_the_same_splits():
  records = [record('a', s, 1 + s) for s in range(3)]
  records += [record('b', s, 1.5 + s) for s in (0, 1, 7)]
  (row,) = report.differences(records)
  assert (row['RMSE of'], row['less that of']) == ('b', 'a')
  assert row['difference'] == '0.5000 (0.5000 to 0.5000)'


def test_differences_can_be_those_to_one_method():
  records = [record(name, 0, rmse) for rmse, name in enumerate('abc')]
  rows = report.differences(records, against='b')
  assert [row['RMSE of'] for row in rows] == ['a', 'c']
  assert [row['difference'] for row in rows] == ['-1.0000', '1.0000']
  assert {row['less that of'] for row in rows} == {'b'}
  with pytest.raises(ValueError, match="no records of 'bb'; did you mean 'b'"):
    report.differences(records, against='bb')


def ranked(seed, value):
  test = {f'{name}@{k}': value for k in (5, 50) for name in ('ndcg', 'hr')}
  made = record('r', seed, 1.0) | {'valid_ndcg@10': 0.5, 'test': {'full': test}}
  del made['valid_rmse']
  return made


def test_rankings_are_shown_at_every_cutoff():
  records = [record('a', 0, 1.0), ranked(0, 0.5), ranked(1, 0.7)]
  (row,) = report.at_cutoffs(records, 'full')
  assert list(row)[2:] == ['HR@5', 'HR@50', 'NDCG@5', 'NDCG@50']
  assert (row['method'], row['seeds']) == ('r', '2')
  # Student's t of one degree of freedom, 12.706 times the error .1.
  assert row['HR@5'] == '0.6000 ± 1.2706'
  with pytest.raises(ValueError, match="'ful' is no kind; did you mean 'full'"):
    report.at_cutoffs(records, 'ful')


def test_records_of_several_configs_are_not_averaged():
  records = [record('a', 0, 1.0), record('a', 1, 1.0, epochs=6)]
  with pytest.raises(ValueError, match='epochs differ'):
    report.over_seeds(records)


def test_a_seed_given_twice_is_not_two_seeds():
  records = [record('a', 0, 1.0), record('a', 0, 1.0) | {'time': 'later'}]
  with pytest.raises(ValueError, match='a seed twice'):
    report.over_seeds(records)


def test_of_a_sweep_only_the_member_that_validation_chose_counts():
  sweep = [record('a', 0, rmse) for rmse in (1.3, 1.1, 1.2)]
  (row,) = report.over_seeds(sweep)
  assert (row['seeds'], row['RMSE']) == ('1', '1.1000')


def test_a_failed_run_is_no_number():
  with pytest.raises(ValueError, match='has failed'):
    report.over_seeds([record('a', 0, 1.0) | {'valid_rmse': None}])


def test_markdown_has_a_line_a_row():
  table = report.markdown([{'x': '1', 'y': '2'}, {'x': '3', 'y': '4'}])
  assert table == '| x | y |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |'

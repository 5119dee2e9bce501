import json
import random

import numpy as np
import pytest

from tests.helpers import ranking_record, rating_record
from xdomain import files
from xdomain.reporting import records, tables
from xdomain.runs import store


def test_the_task_is_decided_by_the_field_of_the_validation_value():
  assert records.task_of(rating_record()) is records.RATING
  assert records.task_of(ranking_record()) is records.RANKING
  with pytest.raises(records.RecordError, match='neither valid_rmse nor valid_ndcg@10'):
    records.task_of({'name': 'a'})


def test_a_measure_has_a_title_bounds_and_a_value():
  record = ranking_record(gain=0.25)
  assert records.title('rmse') == 'RMSE'
  assert records.title('sampled hr@10') == 'HR@10'
  assert records.title('full ndcg@5') == 'full NDCG@5'
  assert records.bounds('full hr@5') == (0, 1)
  assert records.value(record, 'full hr@5') == 0.25
  assert records.user_interval(record, 'full hr@5') == (0.15, 0.35)
  assert records.value(record | {'failed': True}, 'full hr@5') is None


@pytest.mark.parametrize(
  'change, fault',
  [
    ({'seed': 'x'}, "'seed' is 'x'"),
    ({'seed': ...}, "'seed' is missing"),
    ({'config': {}}, "'data' of 'config' is missing"),
    ({'hashes': {'data': 'd'}}, "'split' of 'hashes' is missing"),
    ({'valid_rmse': ...}, 'neither valid_rmse'),
    ({'valid_rmse': 'low'}, "'valid_rmse' is 'low'"),
    ({'test': {'rmse': 1.0}}, 'the record of a, seed 0, has no mae'),
    ({'test': []}, 'the record of a, seed 0, has no rmse'),
    ({'test': {'rmse': {}, 'mae': 1.0}}, 'rmse of a is {}'),
    ({'hyper': {'lr': 'high'}}, "'lr' of 'hyper' is 'high'"),
    ({'by_user': {'rmse': [1.0]}}, "'n' among them"),
    ({'by_user': {'n': [None]}}, 'does not hold numbers'),
    ({'by_user': {'n': [1], 'rmse': [1.0, 2.0]}}, 'lists of one length'),
  ],
)
def test_a_record_that_is_not_whole_is_refused_with_its_file_and_line(
  tmp_path, change, fault
):
  broken = rating_record() | change
  broken = {name: field for name, field in broken.items() if field is not ...}
  path = tmp_path / 'records.jsonl'
  files.write(path, files.line(rating_record()) + json.dumps(broken))
  with pytest.raises(records.RecordError, match=r'records\.jsonl, line 2 is not') as at:
    records.read(tmp_path)
  assert fault in str(at.value) and '\n' not in str(at.value)


FOREIGN = (None, -1.5, 'x', [], {}, [1, 2], {'a': 1}, True, float('inf'))


def damaged(rng, record):
  """The record with one value, at any depth, removed or replaced."""
  record = json.loads(json.dumps(record))
  at = record
  while True:
    name = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
    if not isinstance(at[name], dict | list) or not at[name] or rng.random() < 0.2:
      break
    at = at[name]
  if rng.random() < 0.5:
    del at[name]
  else:
    at[name] = rng.choice(FOREIGN)
  return record


def test_damaged_records_are_refused_or_summarised_but_never_a_traceback(tmp_path):
  rng, path, refused = random.Random(0), tmp_path / 'records.jsonl', 0
  sums = {'by_user': {'n': [1, 2], 'rmse': [1.0, 2.0]}}
  whole = [rating_record() | sums, ranking_record(), rating_record('b') | sums]
  for _ in range(300):
    at = rng.randrange(3)
    lines = [*whole[:at], damaged(rng, whole[at]), *whole[at + 1 :]]
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    try:
      found = records.named_by_cell(records.read_run(path))
      tables.over_seeds(found), tables.differences(found)
    except (records.RecordError, files.DamagedFile) as error:
      assert '\n' not in str(error)
      refused += 1
  assert 100 < refused < 300


def test_whole_records_are_read_from_a_folder_or_a_compressed_file(tmp_path):
  whole = [rating_record(), ranking_record(), rating_record() | {'failed': True}]
  lines = ''.join(map(files.line, whole))
  files.write(tmp_path / 'records.jsonl', lines)
  files.write(tmp_path / 'other.jsonl.xz', lines)
  assert records.read(tmp_path) == whole == records.read(tmp_path / 'other.jsonl.xz')
  assert records.read(tmp_path / 'none.jsonl') == []
  with pytest.raises(records.RecordError, match=r'none\.jsonl does not exist'):
    records.read_run(tmp_path / 'none.jsonl')


def test_a_loss_is_lower_for_the_better_and_infinite_for_a_failed_run():
  assert records.loss(rating_record(rmse=0.5)) == 0.5
  assert records.loss(ranking_record(gain=0.75)) == 0.25
  assert records.loss(rating_record() | {'failed': True}) == np.inf
  assert records.loss(rating_record() | {'valid_rmse': None}) == np.inf


def test_records_of_several_configs_are_not_averaged():
  with pytest.raises(records.RecordError, match=r'different configs \(epochs\)'):
    records.by_method([rating_record(), rating_record(seed=1, epochs=6)])


def test_seeds_whose_searches_chose_differently_are_averaged():
  one, two = (
    rating_record(hyper=dict(lr=1.0)),
    rating_record(seed=1, hyper=dict(lr=2.0)),
  )
  with pytest.raises(records.RecordError, match=r'different configs \(hyper\)'):
    records.by_method([one, two])
  searched = [record | {'search': {}} for record in (one, two)]
  assert list(records.by_method(searched).values()) == [searched]


def test_a_seed_counts_once():
  twice = [rating_record(), rating_record() | {'time': 'later'}]
  with pytest.raises(records.RecordError, match='a seed twice'):
    records.by_method(twice)


def test_a_failed_run_has_no_mean():
  with pytest.raises(records.RecordError, match='a run of a failed'):
    records.by_method([rating_record() | {'valid_rmse': None}])


def test_only_the_best_member_of_a_sweep_counts():
  sweep = [rating_record(rmse=rmse) for rmse in (1.3, 1.1, 1.2)]
  assert records.by_method(sweep) == {'a': [sweep[1]]}


def test_records_of_a_table_are_named_by_their_cells():
  places = [{'row': 'A', 'column': c} for c in ('80 %', '90 %')]
  named = records.named_by_cell([rating_record() | place for place in places])
  assert [record['name'] for record in named] == ['A, 80 %', 'A, 90 %']
  (alone,) = records.named_by_cell([rating_record() | places[0]])
  assert alone['name'] == 'A'


def test_user_sums_belong_to_the_member_and_to_the_measure(tmp_path):
  np.savez(
    tmp_path / 'test.npz',
    user=[0, 0, 1],
    truth=[1.0, 1.0, 1.0],
    rating=[[1.0, 1.0, 1.0], [2.0, 4.0, 3.0]],
    sampled=[[0, 0, 0], [0, 3, 99]],
    full=[[0, 0, 0], [7, 99, 1]],
  )
  measures = ('rmse', 'mae', 'sampled hr@5', 'full hr@5', 'full mrr@5')
  record = {'failed': False}
  second = records.with_user_sums(record, tmp_path, 1, measures)
  assert second['by_user'] == {
    'n': [2, 1],
    'rmse': [10, 4],
    'mae': [4, 2],
    'sampled hr@5': [2, 0],
    'full hr@5': [0, 1],
    'full mrr@5': [0, 0.5],
  }
  first = records.with_user_sums(record, tmp_path, 0, ['rmse'])
  assert first['by_user']['rmse'] == [0, 0]
  assert records.with_user_sums(second, None, 0, ['mae'])['by_user'] == {
    'n': [2, 1],
    'mae': [4, 2],
  }


def test_a_measure_of_lists_has_one_value_a_user_and_is_compared_over_users():
  sums = [
    dict(user=np.array([0, 0, 2]), full=np.array(full)) for full in ([0, 3, 9], [5] * 3)
  ]
  one, two = (
    {'seed': 0, 'by_user': records.user_sums(test, ['list recall@5'])} for test in sums
  )
  assert one['by_user'] == {'n': [2, 0, 1], 'list recall@5': [1, 0, 0]}
  assert two['by_user']['list recall@5'] == [0, 0, 0]
  gap, queries = tables.user_gap([one], [two], 'list recall@5')
  assert (gap.tolist(), queries.tolist()) == ([1, 0, 0], [1, 0, 1])


def test_a_damaged_file_of_test_queries_is_named(tmp_path):
  (tmp_path / 'test.npz').write_bytes(b'no archive')
  with pytest.raises(records.RecordError, match=r'test\.npz is damaged'):
    records.with_user_sums({'failed': False}, tmp_path, 0, ['rmse'])
  with pytest.raises(records.RecordError, match=r'test\.npz is damaged'):
    store.test_of(tmp_path)


def test_a_test_that_proves_nothing_is_announced():
  ranked = ranking_record()['test']
  assert records.doubts(ranked | {'users': 300}) == []
  assert 'a single held-out query' in records.doubts(ranked | {'users': 1})[0]
  perfect = ranking_record(gain=1.0)['test']
  assert 'HR = NDCG = 1' in records.doubts(perfect | {'users': 300})[0]
  rated = rating_record()['test']
  assert records.doubts(rated) == []
  assert 'predicted exactly' in records.doubts(rated | {'rmse': 0.0})[0]

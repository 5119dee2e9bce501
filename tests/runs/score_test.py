"""Scores in a file are measured as the same scores of a model are."""

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from xdomain import base
from xdomain.data import device, splits, synthetic
from xdomain.data.types import DataError
from xdomain.evaluation import rankings
from xdomain.runs import prepare, protocols, score
from xdomain.runs import spec as specs

DATASET = synthetic.implicit(0, users=80)
RANKING = protocols.PROTOCOLS['leave_one_out']


def spec(protocol):
  fields = dict(name='x', method='bias', model={}, hyper={}, data={}, split={})
  return specs.from_config(fields | dict(protocol=protocol))


def write(path, ids, users, items, scores, **columns):
  names = ('user', ids.users), ('item', ids.target)
  made = {name: raw[rows].tolist() for (name, raw), rows in zip(names, (users, items))}
  pl.DataFrame(made | {'score': scores} | columns).write_csv(path)
  return path


def table(scores):
  def predict(state, data):
    return lambda users, items: jnp.asarray(scores)[users[:, None], items]

  return base.Model((), predict)


@pytest.mark.parametrize('split_of', [splits.leave_one_out, splits.cold_start])
def test_a_score_for_each_cell_gives_the_ranks_of_a_model(split_of, tmp_path):
  split = split_of(DATASET, negatives=9)
  whole, ids = split.dataset.pair.target, split.dataset.ids
  rng = np.random.default_rng(0)
  scores = rng.integers(20, size=(whole.n_users, whole.n_items)).astype(float)  # Ties.
  cells = np.indices(scores.shape).reshape(2, -1)
  path = write(tmp_path / 's.csv', ids, *cells, scores.ravel())
  scored, unknown = score.read(path, split.dataset)
  found = score.ranked(split.dataset, split, scored)
  queries = device.ranking_queries(split.test.target)
  known = device.domain(whole).by_user
  plain = rankings.ranks(table(scores), None, None, queries, known)
  assert unknown == 0
  for name in ('user', 'item', 'sampled', 'tied', 'candidates', 'full', 'catalogue'):
    np.testing.assert_array_equal(getattr(found, name), getattr(plain, name), name)


def test_a_list_of_ranks_has_the_measures_of_its_first_places(tmp_path):
  split = splits.leave_one_out(DATASET, negatives=9)
  whole, ids, test = split.dataset.pair.target, split.dataset.ids, split.test.target
  seen = set(zip(whole.user.tolist(), whole.item.tolist()))
  users, items, expected = [], [], []
  for turn, (user, item) in enumerate(zip(test.user.tolist(), test.item.tolist())):
    new = [i for i in range(whole.n_items) if (user, i) not in seen]
    listed = new[:5]
    place = turn % 7  # 5 and 6: not in the list.
    if place < 5:
      listed.insert(place, item)
    users += [user] * len(listed)
    items += listed
    expected.append(place if place < 5 else len(new))
  made = pl.DataFrame(
    {'user_id': ids.users[users].tolist(), 'item_id': ids.target[items].tolist()}
  )
  made.write_csv(tmp_path / 'lists.csv')
  scored, _ = score.read(tmp_path / 'lists.csv', split.dataset)
  answer = score.answer(spec('leave_one_out'), split.dataset, split, scored)
  assert answer.own['full'].tolist() == expected
  first = answer.own['listed'][test.user == test.user[0]][0]
  assert first[0] == test.item[0] and (first[6:] == -1).all()
  assert answer.measures['test']['beyond']['coverage'] > 0
  ranked = made.with_columns(rank=pl.Series(range(1, len(users) + 1)))
  ranked.write_csv(tmp_path / 'ranks.csv')
  scored, _ = score.read(tmp_path / 'ranks.csv', split.dataset)
  again = score.answer(spec('leave_one_out'), split.dataset, split, scored)
  np.testing.assert_array_equal(again.own['full'], answer.own['full'])


def test_ratings_are_clipped_and_measured(tmp_path):
  rated = synthetic.pair(0)
  split = splits.by_ratio(rated)
  test = split.test.target
  path = write(tmp_path / 'r.csv', rated.ids, test.user, test.item, test.value + 9)
  scored, _ = score.read(path, rated)
  answer = score.answer(spec('rating'), rated, split, scored)
  rmse = np.sqrt(np.mean((5 - test.value.astype(float)) ** 2))
  assert answer.measures['test']['rmse'] == pytest.approx(rmse)
  part = write(
    tmp_path / 'p.csv', rated.ids, test.user[1:], test.item[1:], test.value[1:]
  )
  scored, _ = score.read(part, rated)
  with pytest.raises(DataError, match=r'1 of .* tested ratings have no score'):
    score.answer(spec('rating'), rated, split, scored)


def test_mistakes_of_a_file_are_one_line(tmp_path):
  path = tmp_path / 'x.csv'
  for text, message in (
    ('who,item\n1,2\n', "no column 'user'; the columns are who, item"),
    ('user,item,score\na,b,1\n', 'no row has a user and an item'),
    ('user,item,score\nu0,t0,high\n', "line 2: the score is 'high'"),
  ):
    path.write_text(text)
    with pytest.raises(DataError, match=message):
      score.read(path, DATASET)
  with pytest.raises(DataError, match=r'none\.csv'):
    score.read(tmp_path / 'none.csv', DATASET)


def test_the_differences_to_a_run_are_of_the_same_queries():
  split = splits.leave_one_out(DATASET, negatives=9)
  prepared = prepare.of_split(split.dataset, split, RANKING, 'both', {})
  user = np.asarray(prepared.test.target.user)[: split.test.target.user.size]
  np.testing.assert_array_equal(user, split.test.target.user)

"""The Python API on two small files, as a first user meets it."""

import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

import xdomain as xd
from xdomain.runs import spec as specs

FIT = dict(epochs=2, patience=2)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """Two CSV files; users u0 to u2 have no books, book b0 is in every list."""
  folder = tmp_path_factory.mktemp('files')
  rng = np.random.default_rng(0)
  for name, first in (('films', 0), ('books', 3)):
    lines = [
      f'u{user},{name[0]}{item},{rng.choice([2, 4, 5, 5])}'
      for user in range(first, 40)
      for item in range(24)
      if item == 0 or rng.random() < 0.7
    ]
    (folder / f'{name}.csv').write_text('user,item,stars\n' + '\n'.join(lines) + '\n')
  return folder


@pytest.fixture(scope='module')
def pair(files):
  return xd.load_pair(
    files / 'films.csv',
    files / 'books.csv',
    rating='stars',
    say=lambda line: None,
  )


@pytest.fixture(scope='module')
def split(pair):
  return xd.leave_one_out(pair, seed=0, negatives=5)


@pytest.fixture(scope='module')
def ease(split):
  return xd.fit('ease', split, hyper=dict(penalty=20.0))


def test_the_package_names_its_api_and_imports_it_lazily():
  assert set(xd.__all__) <= set(dir(xd))
  code = 'import xdomain, sys; assert not {"jax", "polars"} & set(sys.modules)'
  subprocess.run([sys.executable, '-c', code], check=True)
  with pytest.raises(AttributeError, match='no attribute'):
    _ = xd.nothing


def test_a_split_is_trained_on_and_tested(ease):
  measures = ease.evaluate()
  assert 0 < measures['full']['ndcg@10'] <= 1
  assert 'full' in str(measures) and ' to ' in str(measures)
  assert ease.epoch == 1
  assert ease.spec.hyper['penalty'] == 20.0 and ease.spec.view == 'merged'


def test_lists_hold_unseen_items_best_first(ease, pair):
  rows = ease.recommend(['u5', 'u9'], top=3)
  assert [row.user for row in rows] == ['u5'] * 3 + ['u9'] * 3
  scores = [row.score for row in rows[:3]]
  assert scores == sorted(scores, reverse=True)
  at = pair.ids.users.tolist().index('u5')
  target = pair.pair.target
  rated = set(pair.ids.target[target.item[target.user == at]].tolist())
  assert not rated & {row.item for row in rows[:3]}  # Also what was rated low.
  everything = ease.recommend(['u5'], top=100, exclude_seen=False)
  assert len(everything) == len(ease.ids.target)


def test_all_users_come_in_blocks(ease):
  blocks = list(ease.recommend_all(top=2, block=20))
  assert len(blocks) == 2
  rows = [row for block in blocks for row in block]
  assert rows == ease.recommend(top=2)


def test_an_unknown_user_is_left_out_or_gets_popular_items(ease):
  said = []
  rows = ease.recommend(['u5', 'nobody'], top=2, say=said.append)
  assert {row.user for row in rows} == {'u5'}
  assert said[0].startswith("left out: 'nobody', not among the 37 users")
  rows = ease.recommend(['nobody'], top=2, fallback='popular', say=said.append)
  assert [row.popular for row in rows] == [True, True]
  assert rows[0].score >= rows[1].score
  with pytest.raises(specs.SpecError, match="did you mean 'popular'"):
    ease.recommend(['u5'], fallback='poplar')
  with pytest.raises(specs.SpecError, match='no user is left'):
    ease.recommend(['nobody'], say=said.append)


def test_a_known_users_items_give_that_users_list(ease):
  at = ease.ids.users.tolist().index('u9')
  items = [
    getattr(ease.ids, domain)[part.item[part.user == at]].tolist()
    for domain, part in zip(('source', 'target'), ease.dataset.pair[:2])
  ]
  known = ease.recommend(['u9'], top=100, exclude_seen=False)
  new = ease.recommend_for(*items, top=100, exclude_seen=False)
  assert [row.item for row in new] == [row.item for row in known]
  for one, other in zip(new, known):
    assert one.score == pytest.approx(other.score, rel=1e-4, abs=1e-6)


def test_a_list_crosses_from_a_source_item(ease):
  rows = ease.similar_items('f1', top=3, domain='source')
  assert len(rows) == 3 and all(row.item.startswith('b') for row in rows)
  assert 'b2' not in {row.item for row in ease.similar_items('b2', top=30)}
  with pytest.raises(specs.SpecError, match=r"'f99' is no item of the source; did"):
    ease.recommend_for(['f99'])


def test_an_item_that_is_given_twice_counts_once(ease):
  assert ease.recommend_for(['f1', 'f1'], top=3) == ease.recommend_for(['f1'], top=3)


@pytest.mark.parametrize(
  ('ask', 'message'),
  [
    (lambda of: of.recommend('u5'), r"users='u5' is one text; .* users=\['u5'\]"),
    (lambda of: of.recommend_for('f1'), "source='f1' is one text; give a list"),
    (lambda of: of.recommend(['u5'], top=0), 'top is 0; it must be at least 1'),
    (lambda of: of.recommend_for(['f1'], top=1.5), 'top is 1.5; it must be'),
    (
      lambda of: of.recommend_for({'f1': float('nan')}),
      "the rating of 'f1' is nan, which is no number",
    ),
  ],
)
def test_a_wrong_question_is_refused(ease, ask, message):
  with pytest.raises(specs.SpecError, match=message):
    ask(ease)


def test_a_method_that_cannot_fold_in_says_so(split):
  trained = xd.fit('bpr', split, **FIT)
  with pytest.raises(specs.SpecError, match='bpr cannot score a user who was not'):
    trained.recommend_for(['f1'])
  assert len(trained.recommend(['u5'], top=3)) == 3


def test_scores_that_tie_are_announced(split):
  trained = xd.fit('ease', split)
  constant = type(trained.state)(np.zeros_like(trained.state.weight))
  flat = trained.__class__(**vars_of(trained) | {'state': constant})
  with pytest.warns(UserWarning, match='all 3 scores of a list are equal for 1 of 1'):
    flat.recommend(['u5'], top=3)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    trained.recommend(['u5'], top=3)


def vars_of(trained):
  return {name: getattr(trained, name) for name in trained.__dataclass_fields__}


def test_everything_is_trained_on_for_the_epochs_that_validation_chose(pair, ease):
  final = xd.fit('ease', pair, epochs=ease.epoch, hyper=dict(penalty=20.0))
  assert final.epoch == ease.epoch
  n = final.dataset.pair.target.user.size
  assert final.train.target.user.size == n > ease.train.target.user.size
  with pytest.raises(specs.SpecError, match='none are left to test'):
    final.evaluate()
  with pytest.raises(specs.SpecError, match='epochs is missing'):
    xd.fit('ease', pair)


@pytest.mark.matrix
def test_stages_keep_an_epoch_each(pair):
  split = xd.by_ratio(pair, seed=1)
  small = dict(embed=4, extractor=4, heads=(4, 4), classifier=4)
  trained = xd.fit('darec_user', split, model=small, **FIT)
  assert len(trained.epoch) == 3 and trained.spec.model['axis'] == 'user'
  final = xd.fit('darec_user', pair, model=small, epochs=trained.epoch)
  assert final.epoch == trained.epoch
  assert all(1 <= row.score <= 5 for row in final.recommend(['u5'], say=len))


def test_ratings_of_a_new_user_count(pair):
  trained = xd.fit('bias', xd.by_ratio(pair, seed=0), **FIT)
  low, high = (
    trained.recommend_for(target={'b1': stars, 'b2': stars}, top=3)
    for stars in (1.0, 5.0)
  )
  assert high[0].score > low[0].score


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (dict(method='eese'), "method is 'eese'; did you mean 'ease'"),
    (dict(method='ease', hyper=dict(penlty=1.0)), "did you mean 'penalty'"),
    (dict(method='ease', model=dict(factors=3)), 'model.factors is no setting'),
    (dict(method='ials', model=dict(factors=1.5)), 'model.factors is 1.5'),
    (dict(method='ease', view='marged'), "view is 'marged'; did you mean"),
  ],
)
def test_a_wrong_setting_is_named(split, call, message):
  with pytest.raises(specs.SpecError) as error:
    xd.fit(data=split, **call)
  assert message in str(error.value)


def test_methods_are_compared_on_one_split(split):
  found = xd.compare(split, ['item_pop', 'ease'], **FIT)
  assert found.best == next(iter(found.fits))
  assert {row['method'] for row in found.rows} == {'item_pop', 'ease'}
  column = f'full NDCG@10 minus {found.best}'
  assert ' to ' in found.rows[1][column] and found.rows[0][column] == ''
  assert found.best in str(found)


def test_a_method_that_predicts_no_better_than_the_mean_rating_is_named(pair):
  split = xd.by_ratio(pair, seed=0)
  found = xd.compare(split, ['bias', 'pmf'], epochs=1)
  # Around 0, all predictions of PMF are clipped to the lowest rating at first.
  (note,) = found.notes
  assert re.match(r'pmf has not learnt: its validation RMSE of [23]\.\d{4} is', note)
  assert note in str(found)

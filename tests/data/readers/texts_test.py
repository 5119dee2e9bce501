import os
import subprocess
import sys

import numpy as np
import pytest

from xdomain.data import splits, synthetic
from xdomain.data.readers import texts
from xdomain.data.types import DataError, Pair

STRINGS = ['guitar', 'bass', 'string', 'neck', 'fret', 'pick', 'chord', 'tuner']
DRUMS = ['drum', 'stick', 'cymbal', 'snare', 'kick', 'beat', 'hat', 'pedal']
USERS = 24


def reviews(each=6, seed=0):
  """Even users write of strings and odd ones of drums; one item a review."""
  rng = np.random.default_rng(seed)
  return [
    (user, item, ' '.join(rng.choice((STRINGS, DRUMS)[user % 2], 20)))
    for user in range(USERS)
    for item in range(each)
  ]


def vectors(rows, held_out=(), **options):
  pytest.importorskip('gensim')
  options = dict(dimensions=8, seed=0, epochs=20) | options
  return texts.user_vectors(rows, held_out, USERS, **options)


def changed(rows, held_out, text='pedal snare'):
  """The rows, with another text where one is held out."""
  return [
    (user, item, text if (user, item) in held_out else said)
    for user, item, said in rows
  ]


def among_their_kind(made):
  """`[U]` whether a user is more like those who write of the same thing."""
  made = made / np.linalg.norm(made, axis=1, keepdims=True)
  alike = made @ made.T - np.eye(USERS)
  same = np.equal.outer(np.arange(USERS) % 2, np.arange(USERS) % 2)
  return (alike * same).sum(axis=1) > (alike * ~same).sum(axis=1)


HELD = {(0, 2), (7, 1), (7, 5)}


@pytest.mark.parametrize('dm', [0, 1])
@pytest.mark.parametrize('new', [(), (0, 3, 7)], ids=['', 'new'])
def test_no_vector_depends_on_a_held_out_review(dm, new):
  rows = reviews()
  made = vectors(rows, HELD, dm=dm, new=new)
  removed = [row for row in rows if row[:2] not in HELD]
  for other in (changed(rows, HELD), changed(rows, HELD, ''), removed):
    again = vectors(other, HELD, dm=dm, new=new)
    np.testing.assert_array_equal(made, again)
  assert (vectors(changed(rows, HELD), dm=dm, new=new) != made).any()


PROTOCOLS = {
  'leave_one_out': splits.leave_one_out,
  'cold_start': splits.cold_start,
  'partial': lambda *a: splits.partial(*a, shown=0.5),
  'by_ratio': splits.by_ratio,
}
each_protocol = pytest.mark.parametrize('split', PROTOCOLS.values(), ids=PROTOCOLS)


def positives():
  """A pair of the reviewers; they review some items that are not in it."""
  pair = synthetic.pair(
    0, users=USERS, source=9, target=6, source_ratings=90, target_ratings=100
  ).pair
  return Pair(*pair[:2])


@each_protocol
def test_what_a_split_keeps_back_changes_no_vector(split):
  rows = reviews()
  held = texts.kept_back(rows, split(positives(), 0))
  np.testing.assert_array_equal(vectors(rows, held), vectors(changed(rows, held), held))


@each_protocol
def test_what_is_asked_for_is_kept_back_and_what_is_trained_on_is_not(split):
  made = split(positives(), 0)
  held = texts.kept_back(reviews(), made)
  for part in (made.valid.target, made.test.target):
    assert set(zip(part.user.tolist(), part.item.tolist())) <= held
  train = made.train.target
  assert not set(zip(train.user.tolist(), train.item.tolist())) & held


@each_protocol
def test_what_is_held_out_of_the_source_is_kept_back_too(split):
  pair = positives()
  pair = Pair(pair.target, pair.source)
  made = split(pair, 0)
  out = set() if made.test.source is None else made.test.source
  kept = texts.kept_back(reviews(), made, 'source')
  seen = zip(made.train.source.user.tolist(), made.train.source.item.tolist())
  assert kept == {row[:2] for row in reviews()} - set(seen)
  if out:
    assert set(zip(out.user.tolist(), out.item.tolist())) <= kept


def test_no_target_review_of_a_new_user_is_read():
  split = splits.cold_start(positives(), 0)
  new = {*split.valid.target.user.tolist(), *split.test.target.user.tolist()}
  held = texts.kept_back(reviews(), split)
  assert {row[:2] for row in reviews() if row[0] in new} <= held


def test_of_a_user_who_is_new_in_part_what_is_shown_is_read():
  split = splits.partial(positives(), 0, shown=0.5)
  shown = split.shown.target
  held = texts.kept_back(reviews(), split)
  assert {row[:2] for row in reviews()} - held == set(
    zip(shown.user.tolist(), shown.item.tolist())
  )


def test_readable_texts_come_user_by_user_in_their_order():
  rows = [(1, 0, 'a'), (0, 3, 'b'), (1, 2, 'c'), (0, 0, 'd'), (1, 0, 'e')]
  assert texts.readable(rows, {(0, 3)}) == [
    (0, 'd'),
    (1, 'a'),
    (1, 'c'),
    (1, 'e'),
  ]
  assert texts.readable(rows, [(1, 0)]) == [(0, 'b'), (0, 'd'), (1, 'c')]


def test_words_are_lower_case_runs_of_letters_and_digits():
  text = "It's a 12-string; snake_case, CAFÉ!\n"
  assert texts.words(text) == [
    'it',
    's',
    'a',
    '12',
    'string',
    'snake',
    'case',
    'café',
  ]
  assert texts.words(' ... ') == []


def test_raw_ids_become_numbers_and_strangers_go():
  raw = [
    ('ann', 'y', 'one'),
    ('eve', 'x', 'two'),
    ('bob', 'z', 'three'),
    ('bob', 'x', 'four'),
  ]
  users, items = np.array(['bob', 'ann']), np.array(['x', 'y'])
  rows = texts.numbered(iter(raw), users, items)
  assert rows == [(1, 1, 'one'), (0, 0, 'four')]


@pytest.mark.parametrize('dm', [0, 1])
def test_people_who_write_of_one_thing_are_near(dm):
  assert among_their_kind(vectors(reviews(), dm=dm, epochs=60)).all()


@pytest.mark.parametrize('dm', [0, 1])
def test_a_new_user_is_near_those_who_write_of_one_thing(dm):
  made = vectors(reviews(), dm=dm, epochs=60, new=[4, 9, 10])
  assert among_their_kind(made).all()


def test_neighbouring_words_count_only_where_they_are_asked_for():
  assert (vectors(reviews(), dm=0) != vectors(reviews(), dm=1)).all()


@pytest.mark.parametrize('dm', [0, 1])
def test_a_new_user_is_fitted_as_gensim_infers(dm, monkeypatch):
  doc2vec = pytest.importorskip('gensim.models.doc2vec')
  known = [(user, text) for user, _, text in reviews()]
  model = texts._trained(texts._Reviews(known), 8, 0, 5, dm)
  fitted = np.zeros((4, 8), np.float32)
  texts._fit_new(model, texts._Reviews([(3, known[0][1])]), fitted)
  model.random = np.random.RandomState([0, 3])
  start = model.random.uniform(-1, 1, 8).astype(np.float32) / 8
  monkeypatch.setattr(doc2vec, 'pseudorandom_weak_vector', lambda *_, **k: start)
  inferred = model.infer_vector(texts.words(known[0][1]))
  np.testing.assert_allclose(fitted[3], inferred, rtol=1e-5)
  assert not fitted[:3].any()


@pytest.mark.parametrize('dm', [0, 1])
def test_nobody_depends_on_the_reviews_of_a_new_user(dm):
  rows, new = reviews(), [4, 9, 10]
  of_9 = {row[:2] for row in rows if row[0] == 9}
  made = vectors(rows, new=new, dm=dm)
  again = vectors(changed(rows, of_9), new=new, dm=dm)
  assert (np.any(made != again, axis=1) == (np.arange(USERS) == 9)).all()


def test_dimensions_are_standardised_over_the_users_who_are_not_new():
  made = vectors(reviews(), new=[0, 1])
  assert made.shape == (USERS, 8)
  np.testing.assert_allclose(made[2:].mean(axis=0), 0, atol=1e-5)
  np.testing.assert_allclose(made[2:].std(axis=0), 1, atol=1e-5)
  assert abs(made[:2].mean(axis=0)).max() > 0.01


def test_users_without_a_known_word_have_zeros():
  rows = [row for row in reviews() if row[0] not in (3, 5, 23)]
  rows += [(5, 0, 'onomatopoeia'), (23, 0, '...')]
  made = vectors(rows, new=[23])
  silent = np.isin(np.arange(USERS), [3, 5, 23])
  assert (made[silent] == 0).all()
  assert (made[~silent] != 0).all()
  np.testing.assert_allclose(made[~silent].std(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize('new', [(), (2,)], ids=['', 'new'])
def test_a_long_review_is_read_to_its_end(new):
  start = 'guitar ' * texts.LONGEST
  one, two = (
    vectors([*reviews(), (2, 7, start + end)], new=new, epochs=2)
    for end in ('guitar ' * 50, 'drum ' * 50)
  )
  assert (one[2] != two[2]).any()


def test_the_seed_decides_the_vectors():
  rows = reviews()
  one, again, other = (vectors(rows, seed=seed) for seed in (0, 0, 1))
  np.testing.assert_array_equal(one, again)
  assert (one != other).all()


@pytest.mark.matrix
def test_the_vectors_are_the_same_in_another_process():
  made = vectors(reviews(), new=[4])
  code = (
    'from tests.data.readers import texts_test as t;'
    'print(t.vectors(t.reviews(), new=[4]).tobytes().hex())'
  )
  other = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'PYTHONHASHSEED': '1'},
    stdout=subprocess.PIPE,
    check=True,
    text=True,
  )
  assert other.stdout.strip() == made.tobytes().hex()


ONCE = [(0, 0, 'rare')]
NINE = [(0, 0, 'new ' * 9)]


@pytest.mark.parametrize(
  ('rows', 'new', 'n'), [([], [], 0), (ONCE, [], 1), (NINE, [0], 0)]
)
def test_too_few_words_to_learn_from_are_an_error(rows, new, n):
  with pytest.raises(DataError, match=f'occurs 5 times in the {n} reviews'):
    vectors(rows, new=new)


def test_without_gensim_the_error_names_the_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, 'gensim.models', None)
  with pytest.raises(DataError, match=r"pip install -e '\.\[text\]'"):
    texts.user_vectors(reviews(), (), USERS, seed=0)

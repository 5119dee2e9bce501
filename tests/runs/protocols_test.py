"""What a trained model is asked, and what is made of its answers."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import arguments
from tests import helpers
from xdomain import base, files
from xdomain.data import device, splits, synthetic, types, views
from xdomain.evaluation import ratings
from xdomain.models import bias
from xdomain.runs import prepare, protocols
from xdomain.runs import spec as specs
from xdomain.training import loop

RANKING = protocols.PROTOCOLS['leave_one_out']
RATING = protocols.PROTOCOLS['rating']


def prepared(pair, valid, test, data, shown=None, scale=(0, 1)):
  dataset = types.Dataset('small', pair, None, scale, ())
  split = types.Split(pair, valid, test)
  return prepare.Prepared(dataset, split, valid, test, {}, 'both', None, data, shown)


def asked(item):
  """A user is asked about an item, among items 3 and 4."""
  held = types.HeldOut(np.array([0]), np.array([item]), np.ones(1), np.array([[3, 4]]))
  return types.PerDomain(None, device.ranking_queries(held))


@pytest.mark.parametrize('is_shown', [False, True])
def test_a_ranking_is_of_the_test_among_what_is_not_known(is_shown):
  table = jnp.array([[9.0, 8, 5, 6, 1, 0]])
  whole = helpers.ratings_of([[0, 0, 1], [0, 1, 1], [0, 2, 1]], 1, 6)
  nothing, one = (
    device.put(types.Pair(whole, views.take(whole, slice(n)))) for n in (0, 1)
  )

  def predict(state, data):
    seen = data.target.by_user.n_entries  # Without any, all items are tied.
    return lambda users, items: seen * table[users[:, None], items]

  data, shown = (nothing, one) if is_shown else (one, None)
  given = prepared(types.Pair(whole, whole), asked(1), asked(2), data, shown)
  stage = base.Stage(None, None, None, predict)
  answer = RANKING.answer(given, base.Model((stage,), predict), None)
  assert answer.shared['item'] == [2]
  assert answer.shared['catalogue'] == [4]  # Items 0 and 1 are known.
  assert (answer.own['sampled'], answer.own['full']) == ([1], [1])
  assert answer.measures['test']['full']['mrr@5'] == 0.5
  # The list leaves out what is trained or validated on, not what is tested.
  assert answer.own['listed'][0, :4].tolist() == [3, 2, 4, 5]
  assert answer.measures['test']['beyond']['coverage'] == 4 / 6
  (by_history,) = answer.measures['test']['by']['history'].values()
  assert by_history['full mrr@10'] == 0.5 and by_history['queries'] == 1


def test_errors_are_of_the_test_of_each_domain():
  pair = types.Pair(
    helpers.ratings_of([[0, 0, 3]], 2, 1), helpers.ratings_of([[0, 0, 3]], 2, 1)
  )

  def held(source, target):
    return types.PerDomain(
      *(
        device.rating_queries(
          types.HeldOut(np.array([1]), np.array([0]), np.array([value]))
        )
        for value in (source, target)
      )
    )

  def says(value):
    return lambda state, data: lambda users, items: jnp.full(items.shape, value)

  stage = base.Stage(None, None, None, says(2.0))
  model = base.Model((stage,), stage.predict, predict_source=says(4.0))
  given = prepared(pair, held(4.0, 2.0), held(3.0, 5.0), device.put(pair), scale=(1, 5))
  answer = RATING.answer(given, model, None)
  assert answer.measures['test']['rmse'] == 3
  assert answer.measures['test_source']['rmse'] == 1
  assert (answer.shared['truth'], answer.own['rating']) == ([5], [2])


def test_what_chooses_the_epoch_is_what_is_reported():
  assert f'ndcg@{RANKING.measure(None, None).cutoff}' == protocols.HEADLINE
  dataset = prepared(None, None, None, None, scale=(1, 5)).dataset
  model = base.Model((), None, lambda data, users, items: items > 0)
  measure = RATING.measure(dataset, model)
  assert measure == ratings.RatingError((1, 5), model.trained)


def test_validation_and_test_are_one_program():
  dataset = synthetic.pair(0)
  split = splits.by_ratio(dataset.pair, 0, valid=0.1, test=0.2)
  ready = prepare.of_split(dataset, split, RATING, 'both', {})
  model, key = bias.model(ready.sizes), jax.random.key(0)
  valid, measure = protocols.validation(ready), RATING.measure(dataset, model)
  fit = functools.partial(loop.fit, model, key, ready.data, bias.Hyper(), epochs=1)
  state = fit(valid=valid, measure=measure).best_of()
  programs = loop.validate._cache_size()
  answer = RATING.answer(ready, model, state)
  assert loop.validate._cache_size() == programs
  plain = ratings.predict_ratings(
    model, state, ready.data, ready.test.target, dataset.scale
  )
  answers = answer.shared | answer.own
  answers = {name: answers[name] for name in plain._fields}
  chex.assert_trees_all_close(answers, plain._asdict(), rtol=1e-6)


def test_the_better_of_two_has_a_difference_below_0():
  rng = np.random.default_rng(0)
  user, truth = np.arange(50), np.zeros(50)
  error = rng.normal(size=50)
  ours, theirs = ({'user': user, 'truth': truth, 'rating': error * by} for by in (1, 2))
  ((name, value, low, high),) = RATING.differences(ours, theirs)
  assert name == 'RMSE'
  assert value == pytest.approx(-np.sqrt(np.mean(error**2)))
  assert low < value < high < 0


def test_differences_of_rankings_are_as_certain_as_there_are_users():
  user, item = np.repeat([0, 1], 50), np.arange(100)
  place = np.where(user == 0, 0, 99)
  ours = {'user': user, 'item': item, 'sampled': place, 'full': place}
  theirs = ours | {'sampled': 99 - place, 'full': 99 - place}
  for _, value, low, high in RANKING.differences(ours, theirs):
    assert (value, low, high) == (0, -1, 1)


@pytest.mark.parametrize(
  'text', ['bias:tables,time', 'ease:tables,time', 'ease:tables,last']
)
def test_own_files_with_times_are_split_by_time(text, tmp_path, request):
  root = request.config.rootpath
  rng = np.random.default_rng(0)
  for name in ('films', 'books'):
    cells = [(u, i) for u in range(12) for i in rng.permutation(20)[:12]]
    moments = 1_000_000_000 + rng.permutation(len(cells))
    rows = [f'{u},{i},{u % 2 + 4},{t}' for (u, i), t in zip(cells, moments)]
    files.write(tmp_path / f'{name}.csv', '\n'.join(['who,what,stars,when', *rows]))
  method, _, words = text.partition(':')
  of_method = arguments.load(f'{root}/configs/{method}.py:{words}')
  columns = dict(user='who', item='what', rating='stars', time='when')
  places = dict(source=f'{tmp_path}/films.csv', target=f'{tmp_path}/books.csv')
  of_method.data.update(columns | places)
  dataset, split = prepare.split_of(specs.from_config(of_method), lambda line: None)
  target = dataset.pair.target
  moment = dict(zip(zip(target.user, target.item), target.time))
  train, valid, test = (
    {
      u: [moment[u, i] for v, i in zip(part.user, part.item) if v == u]
      for u in range(12)
    }
    for part in (split.train.target, split.valid.target, split.test.target)
  )
  assert sum(map(len, test.values())) > 0 < sum(map(len, valid.values()))
  for u in range(12):
    of_user = [part[u] for part in (train, valid, test) if part[u]]
    assert all(max(a) < min(b) for a, b in itertools.pairwise(of_user))

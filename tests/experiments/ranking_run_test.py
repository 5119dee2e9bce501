"""Runs that rank: what they leave behind, and that their splits are shared."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import arguments
from xdomain import api, files
from xdomain.data import sources, synthetic
from xdomain.evaluation import rankings
from xdomain.reporting import tables
from xdomain.runs import prepare, run, store
from xdomain.runs import spec as specs


def config(variant='shared', method='shared_vae', **fields):
  config = arguments.load(f'configs/{method}.py:{variant},quick,synthetic')
  config = specs.from_config(config)
  return specs.replaced(config, **dict(epochs=3) | fields)


def go(config, folder):
  prepared = prepare.prepare(config, say=lambda line: None)
  return run.run(config, prepared, folder, watch=lambda report: None)


VIEWS = {view: config(view, 'bpr') for view in ('merged', 'alone')}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Finished runs of the same split: of both domains, and of the target alone."""
  made = {}
  for view, spec in VIEWS.items():
    made[view] = tmp_path_factory.mktemp(view)
    go(spec, made[view])
  return made


def test_a_record_holds_measures_of_every_kind_with_intervals(folders):
  (record,) = files.read(folders['merged'] / 'records.jsonl')
  for kind in ('sampled', 'full', 'expected'):
    assert set(record['test'][kind]) == set(rankings.names())
    low, high = record['test'][f'{kind}_interval']['ndcg@10']
    assert low < record['test'][kind]['ndcg@10'] < high
  assert 0 < record['valid_ndcg@10'] < 1
  lines = files.read(folders['merged'] / 'metrics.jsonl')
  best = max(line['valid_ndcg@10'] for line in lines)
  assert record['valid_ndcg@10'] == pytest.approx(best)


def test_the_measures_follow_from_the_places_that_are_kept(folders):
  (record,) = files.read(folders['merged'] / 'records.jsonl')
  with np.load(folders['merged'] / 'test.npz') as test:
    (sampled,) = test['sampled']
    means = rankings.gains(sampled).mean(axis=0)
  assert list(record['test']['sampled'].values()) == pytest.approx(means.tolist())


def test_methods_with_other_views_answer_the_same_queries(folders):
  first, second = (files.read(folders[name] / 'records.jsonl')[0] for name in VIEWS)
  assert first['hashes'] == second['hashes']
  rows = store.differences(VIEWS['merged'], folders['merged'], folders['alone'])
  for (name, value, low, high), kind in zip(rows, ('sampled', 'full')):
    gap = first['test'][kind]['ndcg@10'] - second['test'][kind]['ndcg@10']
    assert name == f'{kind} NDCG@10'
    assert value == pytest.approx(gap)
    assert low <= value <= high


def test_a_summary_averages_seeds(folders):
  records = [
    record
    for folder in folders.values()
    for record in files.read(folder / 'records.jsonl')
  ]
  ((merged, alone),) = tables.over_seeds(records)
  assert merged['method'] == 'bpr'
  expected = records[0]['test']['full']['ndcg@10']
  assert merged['full NDCG@10'].split()[0] == f'{expected:.4f}'
  ((gap,),) = tables.differences(records)
  assert {gap['method'], gap['minus']} == {merged['method'], alone['method']}


def test_a_user_is_recommended_what_they_do_not_know(folders):
  prepared = prepare.prepare(VIEWS['merged'], say=lambda line: None)
  name = str(prepared.dataset.ids.users[3])
  rows = api.load(store.find_trained(folders['merged'])).recommend([name], 5)
  target = prepared.dataset.pair.target
  known = prepared.dataset.ids.target[target.item[target.user == 3]]
  assert len(rows) == 5
  assert not {row.item for row in rows} & set(known.tolist())
  scores = [row.score for row in rows]
  assert scores == sorted(scores, reverse=True)


@pytest.mark.matrix
@pytest.mark.parametrize('variant', ['cold', 'generic', 'cold_aux'])
def test_new_people_are_asked_about_and_never_trained_on(variant, tmp_path):
  prepared = prepare.prepare(config(variant), say=lambda line: None)
  asked = np.unique(prepared.split.test.target.user)
  assert not np.isin(prepared.split.train.target.user, asked).any()
  (record,) = run.run(config(variant), prepared, tmp_path, watch=lambda report: None)
  test = record['test']
  assert test['users'] == asked.size < test['queries']
  assert test['sampled_macro']['hr@10'] != test['sampled']['hr@10']


@pytest.mark.matrix
def test_several_sources_are_seen_apart_by_a_method_that_takes_them(tmp_path):
  made = synthetic.implicit(0)
  paths = []
  for name, part in (('films', 0), ('music', 1), ('books', None)):
    events = made.pair.target if part is None else made.pair.source
    keep = slice(None) if part is None else events.item % 2 == part
    columns = events.user[keep], events.item[keep]
    paths.append(tmp_path / f'{name}.csv')
    rows = ''.join(f'{user},{item}\n' for user, item in zip(*columns))
    paths[-1].write_text(f'user,item\n{rows}')
  *films, target = map(str, paths)
  data = sources.defaults('tables_implicit') | dict(
    source=','.join(films), target=target, rating='', at_least=3
  )
  cold = dataclasses.replace(config('cold'), view='apart', data=data)
  prepared = prepare.prepare(cold, say=lambda line: None)
  assert len(prepared.data.source) == 2
  (record,) = run.run(cold, prepared, tmp_path / 'a', watch=lambda report: None)
  assert record['test']['sampled']['hr@10'] > 10 / 100  # A random order's.
  both = dataclasses.replace(cold, view='both')
  (as_one,) = run.run(both, prepared, tmp_path / 'both', watch=lambda report: None)
  assert record['parameters'] > as_one['parameters']  # An encoder for each source.
  blind = specs.from_config(arguments.load('configs/ridge.py:quick,synthetic,cold'))
  blind = dataclasses.replace(blind, view='apart', data=data, split=cold.split)
  with pytest.raises(specs.SpecError, match='takes one source'):
    run.run(blind, prepared, tmp_path / 'b', watch=lambda report: None)


def test_a_method_that_sees_nothing_of_new_people_says_so(tmp_path):
  blind = config('single', protocol='cold_start', split=config('cold').split)
  prepared = prepare.prepare(blind, say=lambda line: None)
  with pytest.raises(specs.SpecError, match="view='merged' gives it"):
    run.run(blind, prepared, tmp_path, watch=lambda report: None)
  unpaired = specs.from_config(arguments.load('configs/conet.py:synthetic,cold,quick'))
  unpaired = specs.replaced(unpaired, model=dict(pairing='same_user'))
  prepared = prepare.prepare(unpaired, say=lambda line: None)
  with pytest.raises(specs.SpecError, match="view='merged' gives it"):
    run.run(unpaired, prepared, tmp_path, watch=lambda report: None)


@pytest.mark.parametrize(
  ('text', 'view', 'message'),
  [
    ('configs/emcdr.py:synthetic,quick', 'alone', 'emcdr learns from users'),
    ('configs/shared_vae.py:aux,synthetic,quick', 'both', 'auxiliary vectors'),
  ],
)
def test_data_that_lacks_what_a_method_reads_is_said(text, view, message, tmp_path):
  unfit = specs.from_config(arguments.load(text))
  unfit = specs.replaced(unfit, view=view, epochs=1, patience=1)
  prepared = prepare.prepare(unfit, say=lambda line: None)
  prepared = prepared._replace(data=prepared.data._replace(side=None))
  with pytest.raises(specs.SpecError, match=message):
    run.run(unfit, prepared, tmp_path, watch=lambda report: None)


@pytest.mark.matrix
def test_a_share_of_the_target_is_shown_but_not_trained_on(tmp_path):
  partly = config(protocol='partial', split=dict(negatives=99, users=0.1, shown=0.5))
  prepared = prepare.prepare(partly, say=lambda line: None)
  asked = np.unique(prepared.split.test.target.user)
  length = prepared.data.target.by_user.length
  assert not np.any(length[asked])
  assert np.any(prepared.shown.target.by_user.length[asked])
  records = run.run(partly, prepared, tmp_path, watch=lambda report: None)
  assert records[0]['test']['users'] == asked.size


@pytest.mark.matrix
def test_a_diverged_ranking_never_looks_good(tmp_path):
  wild = config('single', sweep=dict(hyper=dict(lr=(1e-3, 1e30))))
  fine, failed = go(wild, tmp_path)
  assert fine['test']['full']['hr@10'] > 0 and not fine['failed']
  assert failed['failed'] and failed['test']['full']['hr@50'] == 0
  assert 'NaN' not in (tmp_path / 'records.jsonl').read_text()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (dict(protocol='leave_one'), "did you mean 'leave_one_out'"),
    (dict(view='merge'), "view is 'merge'; did you mean 'merged'"),
    (dict(split=dict(negative=9)), "did you mean 'negatives'"),
    (dict(reviews=True), "reviews needs 'amazon_implicit' data"),
  ],
)
def test_a_wrong_protocol_says_which_field(change, message):
  with pytest.raises(specs.SpecError) as error:
    prepare.prepare(config(**change), say=lambda line: None)
  assert message in str(error.value)


def reviews(path, text):
  """A category in which the users of either half like the same things."""
  with path.open('w') as file:
    for user in range(20):
      for item in range(8):
        kind = 'lasers' if (user + item) % 2 else 'kisses'
        rating = 5.0 if (user + item) % 3 else 2.0
        line = {
          'reviewerID': f'u{user}',
          'asin': f'{path.stem}{item}',
          'overall': rating,
          'unixReviewTime': item,
          'reviewText': f'{text} {kind} {kind} are what it is about',
        }
        file.write(json.dumps(line) + '\n')


def test_reviews_become_vectors_and_the_split_stays(tmp_path, monkeypatch):
  pytest.importorskip('gensim')
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path))
  (tmp_path / 'amazon').mkdir()
  reviews(tmp_path / 'amazon' / 'reviews_Movies_and_TV.json', 'film')
  reviews(tmp_path / 'amazon' / 'reviews_Books.json', 'book')
  aux = config('aux', reviews=True, split=dict(negatives=2))
  data = dict(kind='amazon_implicit', positive=4.0, at_least=3, item_at_least=1)
  aux = dataclasses.replace(aux, data=data)
  prepared = prepare.prepare(aux, say=lambda line: None)
  users = prepared.sizes.users
  assert prepared.data.side.shape == (users, 2, 256)
  aux = specs.replaced(aux, reviews=False)
  assert prepare.prepare(aux, say=len).hashes == prepared.hashes


def test_without_review_files_the_error_says_which_to_get(tmp_path, monkeypatch):
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path))
  from xdomain.data import types
  from xdomain.data.readers import amazon

  with pytest.raises(types.DataError, match=r'reviews_Books\.json\.gz'):
    amazon.find_reviews('Books')

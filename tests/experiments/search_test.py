"""Tuning: what is tried, on which data, and how a broken search goes on."""

import dataclasses
import json

import pytest

from experiments import arguments, search, show
from tests import helpers
from xdomain import files
from xdomain.runs import prepare, run
from xdomain.runs import spec as specs


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch, request):
  monkeypatch.chdir(request.config.rootpath)


def config(**space):
  config = arguments.load('configs/autorec.py:item,quick')
  config.epochs = 3
  config.width = 1
  config.search.update(dict(hyper={}, model={}))
  with config.search.unlocked():
    config.search.hyper = dict(lr=(1e-3, 1e-2))
    config.search.update(space)
  return specs.from_config(config)


def go(config, folder):
  prepared = prepare.prepare(config, say=lambda line: None)
  return search.search(config, prepared, folder, show.Show())


def test_a_small_grid_is_tried_whole():
  trials = search.trials(config(model=dict(embed=(8, 16))))
  assert len(trials) == 4
  assert trials[1] == {'model': {'embed': 8}, 'hyper': {'lr': 1e-2}}


def test_of_a_large_grid_as_many_as_asked_are_drawn_once_and_for_all():
  large = config(hyper=dict(alpha=tuple(i / 100 for i in range(50))))
  drawn = search.trials(large)
  assert len(drawn) == 8 == len({json.dumps(trial) for trial in drawn})
  assert drawn == search.trials(large)
  assert drawn != [{'model': {}, 'hyper': {'alpha': i / 100}} for i in range(8)]


def test_a_method_without_anything_to_tune_says_so():
  empty = dataclasses.replace(config(), search=specs.Search({}, {}))
  with pytest.raises(specs.SpecError, match='autorec_item is empty'):
    search.trials(empty)


def test_at_least_one_trial_is_asked_for():
  with pytest.raises(specs.SpecError, match='trials is 0; it must be at'):
    search.trials(config(trials=0))


def test_a_name_that_is_no_setting_is_refused():
  with pytest.raises(specs.SpecError, match=r'search\.hyper\.alpa'):
    search.trials(config(hyper=dict(alpa=(1.0,))))


def test_the_best_on_validation_is_chosen_and_the_test_set_is_left_alone(
  tmp_path,
):
  tuned = config(model=dict(embed=(4, 16)))
  found = go(tuned, tmp_path)
  values = [trial['valid'] for trial in found['trials']]
  assert values == sorted(values) and len(values) == 4
  best = search.apply(tuned, found)
  assert best.hyper['lr'] == found['trials'][0]['hyper']['lr']
  assert best.model['embed'] == found['trials'][0]['model']['embed']
  assert not list(tmp_path.glob('**/test.npz'))
  for path in tmp_path.glob('**/records.jsonl'):
    assert all('test' not in record for record in files.read(path))
  (saved,) = tmp_path.glob('*-search-*/search.json')
  assert json.loads(saved.read_text()) == found


def test_a_killed_search_repeats_no_finished_trial(tmp_path, monkeypatch):
  whole = go(config(), tmp_path / 'whole')
  ran, run_one = [], run.run

  def counted(*args, **options):
    if len(ran) == 1:
      raise helpers.Killed
    ran.append(args)
    return run_one(*args, **options)

  with monkeypatch.context() as patch:
    patch.setattr(run, 'run', counted)
    with pytest.raises(helpers.Killed):
      go(config(), tmp_path / 'broken')
  trained, train = [], run._train
  monkeypatch.setattr(run, '_train', lambda *args: trained.append(1) or train(*args))
  again = go(config(), tmp_path / 'broken')
  assert len(trained) == 1
  assert again['trials'] == whole['trials']


def test_a_trial_that_diverged_is_last_and_harms_no_other(tmp_path):
  found = go(config(hyper=dict(lr=(1e-2, 1e30))), tmp_path)
  assert found['trials'][0]['valid'] < 2
  assert found['trials'][1]['valid'] is None
  assert search.rows(found)[1]['valid'] == 'diverged'


def test_a_trial_that_diverged_after_its_best_epoch_is_not_chosen():
  about = {
    'hashes': {},
    'seconds': 1.0,
    'epoch': 1,
    'device': 'cpu',
    'git': None,
  }
  fine, broken = (
    {'valid_rmse': value, 'failed': failed} | about
    for value, failed in ((0.9, False), (0.8, True))
  )
  found = search._found(config(), [[broken, fine]])
  assert [trial['valid'] for trial in found['trials']] == [0.9, None]


def test_a_search_whose_trials_all_diverged_says_so(tmp_path):
  with pytest.raises(specs.SpecError, match='every trial of autorec_item'):
    go(config(hyper=dict(lr=(1e30, 2e30))), tmp_path)


def test_another_space_is_another_search(tmp_path):
  go(config(), tmp_path)
  go(config(hyper=dict(lr=(1e-2,))), tmp_path)
  assert len(list(tmp_path.iterdir())) == 2


def test_a_search_does_not_depend_on_the_choice_that_came_of_it(tmp_path):
  found = go(config(), tmp_path)
  chosen = specs.replaced(config(), hyper=dict(lr=1e-2))
  assert search.plain(chosen) == search.plain(config())
  assert go(chosen, tmp_path) == found  # from the same folder
  chosen = specs.replaced(chosen, hyper=dict(alpha=0.5))  # Not searched for.
  assert search.plain(chosen) != search.plain(config())


def test_a_search_that_is_kept_is_found_again_and_stands_in_their_table(
  tmp_path,
):
  tuned = config()
  hashes = prepare.prepare(tuned, say=lambda line: None).hashes
  found = go(tuned, tmp_path)
  search.keep(tmp_path / 'kept', tuned, found)
  other = specs.replaced(config(), name='aaa')
  search.keep(tmp_path / 'kept', other, found)
  again = search.kept(tmp_path / 'kept', tuned, hashes)
  assert again == {'config': search.plain(tuned)} | found
  _, _, *lines = (tmp_path / 'kept/table.md').read_text().splitlines()
  assert [line.split(' | ')[:2] for line in lines] == [
    ['| aaa', '2'],
    ['| autorec_item', '2'],
  ]
  assert f'lr={found["trials"][0]["hyper"]["lr"]}' in lines[1]


def test_a_search_that_is_kept_is_neither_taken_for_another_nor_replaced(
  tmp_path, monkeypatch
):
  tuned = config()
  hashes = prepare.prepare(tuned, say=lambda line: None).hashes
  assert search.kept(tmp_path, tuned, hashes) is None
  search.keep(tmp_path, tuned, go(tuned, tmp_path))
  assert search.kept(tmp_path, tuned, hashes)
  longer = specs.replaced(config(), epochs=4)
  for other, of in (
    (tuned, hashes | {'split': 'other'}),
    (config(hyper=dict(lr=(1e-3, 1e-1))), hashes),
    (longer, hashes),
  ):
    with pytest.raises(specs.SpecError, match='holds another search'):
      search.kept(tmp_path, other, of)
  with monkeypatch.context() as patch:
    patch.setattr(specs.xdomain, '__version__', '0')
    assert search.kept(tmp_path, tuned, hashes) is None
  (tmp_path / 'autorec_item.json').write_text('{\n')
  with pytest.raises(specs.SpecError, match=r'item\.json, line 2: .*no sear'):
    search.kept(tmp_path, tuned, hashes)


@pytest.mark.parametrize('ask', [search.plain, search.trials])
def test_a_space_may_have_nothing_to_try_of_a_name_but_no_unknown_name(ask):
  ask(config(model=dict(embed=())))
  with pytest.raises(specs.SpecError, match=r'search\.hyper\.nope'):
    ask(config(hyper=dict(nope=(1.0, 2.0))))

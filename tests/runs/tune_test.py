"""Tuning: the trials, their data, and how a killed search resumes."""

import dataclasses
import json

import pytest

from experiments import arguments
from tests import helpers
from xdomain import files
from xdomain.reporting import terminal
from xdomain.runs import prepare, run, tune
from xdomain.runs import spec as specs


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch, request):
  monkeypatch.chdir(request.config.rootpath)


def config(**space):
  config = arguments.load('configs/autorec.py:item,quick,synthetic')
  config.epochs = 3
  config.width = 1
  config.model.embed = 8
  config.data.update(helpers.TINY)
  config.search.update(dict(hyper={}, model={}))
  with config.search.unlocked():
    config.search.hyper = dict(lr=(1e-3, 1e-2))
    config.search.update(space)
  return specs.from_config(config)


def go(config, folder):
  prepared = prepare.prepare(config, say=lambda line: None)
  return tune.search(config, prepared, folder, terminal.Terminal())


def test_a_small_grid_is_tried_whole():
  trials = tune.trials(config(model=dict(embed=(8, 16))))
  assert len(trials) == 4
  assert trials[1] == {'model': {'embed': 8}, 'hyper': {'lr': 1e-2}}


def test_of_a_large_grid_as_many_as_asked_are_drawn_once_and_for_all():
  large = config(hyper=dict(alpha=tuple(i / 100 for i in range(50))))
  drawn = tune.trials(large)
  assert len(drawn) == 8 == len({json.dumps(trial) for trial in drawn})
  assert drawn == tune.trials(large)
  assert drawn != [{'model': {}, 'hyper': {'alpha': i / 100}} for i in range(8)]


def test_a_method_without_anything_to_tune_says_so():
  empty = dataclasses.replace(config(), search=specs.Search({}, {}))
  with pytest.raises(specs.SpecError, match='autorec_item is empty'):
    tune.trials(empty)


def test_at_least_one_trial_is_asked_for():
  with pytest.raises(specs.SpecError, match='trials is 0; it must be at'):
    tune.trials(config(trials=0))


def test_a_name_that_is_no_setting_is_refused():
  with pytest.raises(specs.SpecError, match=r'search\.hyper\.alpa'):
    tune.trials(config(hyper=dict(alpa=(1.0,))))


def test_the_best_on_validation_is_chosen_and_the_test_set_is_left_alone(
  tmp_path,
):
  tuned = config(model=dict(embed=(4, 16)))
  found = go(tuned, tmp_path)
  values = [trial['valid'] for trial in found['trials']]
  assert values == sorted(values) and len(values) == 4
  best = tune.apply(tuned, found)
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
  assert tune.rows(found)[1]['valid'] == 'diverged'


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
  found = tune._found(config(), [[broken, fine]])
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
  assert tune.plain(chosen) == tune.plain(config())
  assert go(chosen, tmp_path) == found  # from the same folder
  chosen = specs.replaced(chosen, hyper=dict(alpha=0.5))  # Not searched for.
  assert tune.plain(chosen) != tune.plain(config())


def test_a_search_that_is_kept_is_found_again_and_stands_in_their_table(
  tmp_path,
):
  tuned = config()
  hashes = prepare.prepare(tuned, say=lambda line: None).hashes
  found = go(tuned, tmp_path)
  tune.keep(tmp_path / 'kept', tuned, found)
  other = specs.replaced(config(), name='aaa')
  tune.keep(tmp_path / 'kept', other, found)
  again = tune.kept(tmp_path / 'kept', tuned, hashes)
  assert again == {'config': tune.plain(tuned)} | found
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
  assert tune.kept(tmp_path, tuned, hashes) is None
  tune.keep(tmp_path, tuned, go(tuned, tmp_path))
  assert tune.kept(tmp_path, tuned, hashes)
  longer = specs.replaced(config(), epochs=4)
  for other, of in (
    (tuned, hashes | {'split': 'other'}),
    (config(hyper=dict(lr=(1e-3, 1e-1))), hashes),
    (longer, hashes),
  ):
    with pytest.raises(specs.SpecError, match='holds another search'):
      tune.kept(tmp_path, other, of)
  with monkeypatch.context() as patch:
    patch.setattr(specs.xdomain, '__version__', '0')
    assert tune.kept(tmp_path, tuned, hashes) is None
  (tmp_path / 'autorec_item.json').write_text('{\n')
  with pytest.raises(files.DamagedFile, match=r'item\.json, line 2 is not JSON'):
    tune.kept(tmp_path, tuned, hashes)


@pytest.mark.parametrize(
  'change, fault',
  [
    ({'trials': []}, "a trial has no 'model'"),
    ({'trials': [{'model': {}, 'hyper': {}, 'epoch': 1}]}, "a trial has no 'valid'"),
    ({'points': 'many'}, "'points' is 'many'"),
    ({'hashes': None}, "'hashes' is None"),
  ],
)
def test_a_file_that_is_no_search_is_named_with_its_fault(tmp_path, change, fault):
  tuned = config()
  trial = {'model': {}, 'hyper': {'lr': 1e-3}, 'valid': 1.0, 'epoch': 1}
  whole = {'points': 2, 'version': '0.1.0', 'hashes': {}, 'epochs': 3, 'patience': 3}
  tune.keep(tmp_path, tuned, whole | {'trials': [trial], 'seconds': 1.0})
  assert tune.kept(tmp_path, tuned, {})
  path = tmp_path / 'autorec_item.json'
  files.write_json(path, json.loads(path.read_text()) | change)
  with pytest.raises(files.DamagedFile, match=r'autorec_item\.json is not a') as at:
    tune.kept(tmp_path, tuned, {})
  assert fault in str(at.value)


@pytest.mark.parametrize('ask', [tune.plain, tune.trials])
def test_a_space_may_have_nothing_to_try_of_a_name_but_no_unknown_name(ask):
  ask(config(model=dict(embed=())))
  with pytest.raises(specs.SpecError, match=r'search\.hyper\.nope'):
    ask(config(hyper=dict(nope=(1.0, 2.0))))

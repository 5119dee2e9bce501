"""Tuning: the trials, their data, and how a killed search resumes."""

import contextlib
import dataclasses
import json
import sqlite3

import optuna
import pytest
import sqlalchemy

from experiments import arguments
from tests import helpers
from xdomain import files
from xdomain.reporting import terminal
from xdomain.runs import prepare, run, store, tune
from xdomain.runs import spec as specs


def config(**space):
  config = arguments.load('configs/autorec.py:item,quick,synthetic')
  config.update(epochs=1, patience=1)
  config.model.embed = 8
  config.data.update(helpers.TINY)
  with config.search.unlocked():
    config.search.hyper, config.search.model = dict(lr=(1e-3, 1e-2)), {}
    config.search.update(space)
  return specs.from_config(config)


def go(config, folder):
  prepared = prepare.prepare(config, say=lambda line: None)
  return tune.search(config, prepared, folder, terminal.Terminal())


def longer(config):
  """The spec with two lengths of trials."""
  return dataclasses.replace(config, epochs=8, patience=8)


def drawn(config, folder):
  """The parameters of a first batch of trials."""
  folder.mkdir()
  return [trial.params for trial in tune._draw(tune._study(folder), config)]


def test_a_small_grid_is_tried_whole(tmp_path):
  found = go(config(model=dict(embed=(8, 16)), hyper=dict(lr=(1e-2, 2e-2))), tmp_path)
  tried = [(t['model']['embed'], t['hyper']['lr']) for t in found['trials']]
  assert sorted(tried) == [(8, 1e-2), (8, 2e-2), (16, 1e-2), (16, 2e-2)]
  assert found['ended'] == 'trials'


def test_a_second_search_waits_for_the_first(tmp_path):
  pytest.importorskip('fcntl')
  spec, said, first = config(), [], contextlib.ExitStack()
  prepared = prepare.prepare(spec, say=len)
  folder = tune.folder_of(spec, tmp_path, 'search')
  first.enter_context(store.lock(folder, said.append))

  class Display(terminal.Terminal):
    def say(self, text):
      said.append(text)
      first.close()

  found = tune.search(spec, prepared, tmp_path, Display())
  assert said[0] == f'another process is running in {folder}; waiting for it'
  assert found['ended'] == 'trials'


def test_a_batch_of_a_large_space_shares_its_shapes_and_is_always_the_same(tmp_path):
  space = config(
    hyper=dict(lr=('log', 1e-4, 1e-1), alpha=('linear', 0.0, 1.0)),
    model=dict(embed=(4, 8, 16)),
  )
  one, two = (drawn(space, tmp_path / name) for name in 'ab')
  assert one == two and len(one) == tune.BATCH
  assert len({params['model.embed'] for params in one}) == 1
  assert len({params['hyper.lr'] for params in one}) == tune.BATCH
  assert all(1e-4 <= params['hyper.lr'] <= 1e-1 for params in one)


def test_the_first_trials_are_the_values_of_the_config_and_its_list(tmp_path):
  space = config(
    hyper=dict(lr=('log', 1e-4, 1e-1), alpha=('log', 1.0, 2.0)),
    trials=2,
    first=(dict(alpha=1.5),),
  )
  space = specs.replaced(space, hyper=dict(lr=3e-3))
  assert tune.first_trials(space) == [
    {'hyper.lr': 3e-3},
    {'hyper.lr': 3e-3, 'hyper.alpha': 1.5},
  ]
  trials = go(space, tmp_path)['trials']
  assert {trial['hyper']['lr'] for trial in trials} == {3e-3}
  assert 1.5 in {trial['hyper']['alpha'] for trial in trials}


def test_the_first_trials_run_to_the_end_though_they_are_behind(tmp_path):
  space = longer(config(hyper=dict(lr=('log', 1e-3, 1.0)), trials=tune.BATCH))
  trials = go(specs.replaced(space, hyper=dict(lr=1.0)), tmp_path)['trials']
  whole = [trial['hyper']['lr'] for trial in trials if trial['epochs'] == 8]
  # Two were the best at a quarter.
  assert len(whole) == 3 and 1.0 in whole


@pytest.mark.parametrize(
  'epochs, best, shown', [(60, 58, 'epochs'), (60, 57, ''), (1, 1, '')]
)
def test_a_best_epoch_near_the_last_is_an_edge(epochs, best, shown):
  trial = dict(model={}, hyper={'lr': 0.1}, epoch=best)
  found = dict(trials=[trial], epochs=epochs, edges=[], seconds=60.0, ended='trials')
  assert tune.over_seeds([found])['at the edge of its space'] == shown
  assert ('edge' in tune.summary(found)) == bool(shown)


def test_a_method_without_anything_to_tune_says_so(tmp_path):
  empty = dataclasses.replace(config(), search=specs.Search({}, {}))
  with pytest.raises(specs.SpecError, match='autorec_item is empty'):
    go(empty, tmp_path)


@pytest.mark.parametrize(
  'space, fault',
  [
    (dict(trials=0), 'trials is 0; it must be at'),
    (dict(minutes=float('nan')), 'minutes is nan; it must be above 0'),
    (dict(hyper=dict(alpa=(1.0,))), r'search\.hyper\.alpa'),
    (dict(first=(dict(alpha=1.0),)), r'search\.first\.alpha'),
    (dict(hyper=dict(lr=('log', 0.0, 1.0))), r'hyper\.lr is .* low above 0'),
    (dict(hyper=dict(lr=('linear', 1.0))), r"hyper\.lr is .*\('linear', low, high\)"),
  ],
)
def test_a_malformed_space_is_refused(space, fault, tmp_path):
  with pytest.raises(specs.SpecError, match=fault):
    go(config(**space), tmp_path)


def test_trials_run_for_a_quarter_of_the_epochs_and_their_best_quarter_to_the_end():
  assert [tune.rungs(epochs) for epochs in (1, 3, 60)] == [[1], [1, 3], [15, 60]]


@pytest.mark.parametrize(
  'values, best, side',
  [
    (('log', 1e-3, 1e1), 1.1e-3, -1),
    (('log', 1e-3, 1e1), 9.0, 1),
    (('log', 1e-3, 1e1), 0.1, 0),
    (('linear', 0.0, 1.0), 0.99, 1),
    ((8, 16, 32), 32, 1),
    ((8, 16, 32), 16, 0),
    ((0.0, 1.0), 1.0, 0),
    (('cg', 'cholesky', 'other'), 'cg', 0),
  ],
)
def test_a_value_at_the_edge_of_its_space_is_recognised(values, best, side):
  assert tune.edge(values, best) == side


def test_a_range_grows_by_a_decade_beyond_the_edge_that_is_best():
  assert tune.widened(('log', 1e-2, 1.0), 0.9) == ('log', 1e-2, 10.0)
  assert tune.widened(('log', 1e-2, 1.0), 1.1e-2) == ('log', 1e-3, 1.0)
  assert tune.widened(('linear', 0.0, 1.0), 1.0) == ('linear', 0.0, 1.0)


@pytest.mark.matrix
def test_a_search_ends_by_its_minutes(tmp_path):
  space = dict(lr=('log', 1e-3, 1e-1))
  found = go(longer(config(hyper=space, minutes=1e-6)), tmp_path)
  assert found['ended'] == 'minutes' and len(found['trials']) == tune.BATCH
  assert [trial['epochs'] for trial in found['trials']] == [8] * 3 + [2] * 5


def test_seeds_share_the_minutes_and_are_searched_apart(tmp_path):
  one, two = (tune.on_seed(config(minutes=4.0), seed, (0, 1)) for seed in (0, 1))
  assert one.search.minutes == two.search.minutes == 2.0
  assert tune.folder_of(one, tmp_path, 'search') != tune.folder_of(
    two, tmp_path, 'search'
  )


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
  (saved,) = tmp_path.glob('*-search-*/search.json')
  assert json.loads(saved.read_text()) == found


@pytest.mark.matrix
@pytest.mark.parametrize(
  ('place', 'name', 'calls', 'left'),
  [
    (run, 'run', 1, 1),
    (optuna.Study, 'add_trial', 3, 2),
    (optuna.Study, 'tell', 3, 0),
  ],
  ids=lambda value: value if isinstance(value, str) else '',
)
def test_a_killed_search_repeats_no_finished_part_of_a_batch(
  place, name, calls, left, tmp_path, monkeypatch
):
  space = longer(config(hyper=dict(lr=('log', 1e-3, 1e-1)), trials=tune.BATCH))
  whole = go(space, tmp_path / 'whole')
  called, before = [], getattr(place, name)

  def until_killed(*args, **options):
    if len(called) == calls:
      raise helpers.Killed
    called.append(1)
    return before(*args, **options)

  with monkeypatch.context() as patch:
    patch.setattr(place, name, until_killed)
    with pytest.raises(helpers.Killed):
      go(space, tmp_path / 'broken')
  trained, train = [], run._train
  monkeypatch.setattr(run, '_train', lambda *args: trained.append(1) or train(*args))
  again = go(space, tmp_path / 'broken')
  assert again['trials'] == whole['trials'] and len(trained) == left
  trained.clear()
  assert go(space, tmp_path / 'broken')['trials'] == whole['trials'] and not trained


def test_a_trial_that_diverged_is_last_and_harms_no_other(tmp_path):
  found = go(longer(config(hyper=dict(lr=(1e-2, 1e30)))), tmp_path)
  assert found['trials'][0]['valid'] < 2
  assert found['trials'][1]['valid'] is None
  assert tune.rows(found)[1]['valid'] == 'diverged'


def test_a_search_whose_trials_all_diverged_says_so(tmp_path):
  with pytest.raises(specs.SpecError, match='every trial of autorec_item'):
    go(longer(config(hyper=dict(lr=(1e30, 2e30)))), tmp_path)


def test_a_study_that_cannot_be_read_or_written_is_one_line(tmp_path, monkeypatch):
  folder = tune.folder_of(config(), tmp_path, 'search')
  folder.mkdir()
  study = folder / 'study.db'
  study.write_bytes(b'no database' * 1000)
  with pytest.raises(OSError, match='cannot be read or written: file is not'):
    go(config(), tmp_path)
  study.unlink()
  full = sqlite3.OperationalError('database or disk is full')

  def batch(*args):
    raise sqlalchemy.exc.OperationalError('INSERT', {}, full)

  monkeypatch.setattr(tune, '_run_batch', batch)
  with pytest.raises(OSError, match=r'disk is full; .* the same command resumes it$'):
    go(config(), tmp_path)


@pytest.mark.matrix
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
  more = specs.replaced(config(), epochs=4)
  for other, of in (
    (tuned, hashes | {'split': 'other'}),
    (config(hyper=dict(lr=(1e-3, 1e-1))), hashes),
    (more, hashes),
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
    ({'epochs': 'many'}, "'epochs' is 'many'"),
    ({'hashes': None}, "'hashes' is None"),
  ],
)
def test_a_file_that_is_no_search_is_named_with_its_fault(tmp_path, change, fault):
  tuned = config()
  trial = {'model': {}, 'hyper': {'lr': 1e-3}, 'valid': 1.0, 'epoch': 1}
  whole = {'version': '0.1.0', 'hashes': {}, 'epochs': 3, 'patience': 3}
  tune.keep(tmp_path, tuned, whole | {'trials': [trial], 'seconds': 1.0})
  assert tune.kept(tmp_path, tuned, {})
  path = tmp_path / 'autorec_item.json'
  files.write_json(path, json.loads(path.read_text()) | change)
  with pytest.raises(files.DamagedFile, match=r'autorec_item\.json is not a') as at:
    tune.kept(tmp_path, tuned, {})
  assert fault in str(at.value)


def test_a_space_may_have_nothing_to_try_of_a_name_but_no_unknown_name():
  tune.plain(config(model=dict(embed=())))
  with pytest.raises(specs.SpecError, match=r'search\.hyper\.nope'):
    tune.plain(config(hyper=dict(nope=(1.0, 2.0))))

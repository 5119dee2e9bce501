"""A run's folder: what is in it, and that a broken run goes on."""

import contextlib

import jax
import numpy as np
import pytest

from experiments import arguments
from tests import helpers
from xdomain import base, files
from xdomain.data import synthetic, types
from xdomain.runs import methods, prepare, protocols, run, stop, store
from xdomain.runs import spec as specs
from xdomain.training import checkpoint, loop


def config(text='configs/darec.py:item,quick,synthetic', **fields):
  config = specs.from_config(arguments.load(text))
  return specs.replaced(config, **dict(epochs=3) | fields)


def killed_after(n):
  """A watch that ends the run after `n` epochs."""
  left = [n]

  def watch(report):
    del report
    left[0] -= 1
    if left[0] == 0:
      raise helpers.Killed

  return watch


def go(config, folder, watch=lambda report: None, seconds=0.0):
  prepared = prepare.prepare(config, say=lambda line: None)
  return run.run(config, prepared, folder, watch=watch, seconds=seconds)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The folder of a finished run, and its records."""
  folder = tmp_path_factory.mktemp('finished')
  return folder, go(config(), folder)


def test_a_first_try_says_how_much_is_tried():
  lines = []
  first_try = config(data=dict(most_users=100))
  prepared = prepare.prepare(first_try, say=lines.append)
  assert prepared.dataset.pair.target.n_users == 100
  assert any('a first try: 100 users and at most 3 epochs' in line for line in lines)


@pytest.mark.matrix
@pytest.mark.parametrize('seconds', [0.0, 1e9])
def test_a_run_broken_in_every_stage_ends_as_the_unbroken_one(tmp_path, seconds):
  go(config(), tmp_path / 'unbroken')
  for n in (2, 3, 4):
    with pytest.raises(helpers.Killed):
      go(config(), tmp_path / 'broken', killed_after(n), seconds)
  go(config(), tmp_path / 'broken', seconds=seconds)
  assert helpers.run_outcome(tmp_path / 'broken') == helpers.run_outcome(
    tmp_path / 'unbroken'
  )


def test_a_finished_run_is_shown_from_its_records(finished):
  folder, first = finished
  assert go(config(), folder, watch=killed_after(1)) == first


def test_a_checkpoint_of_another_config_is_refused(tmp_path):
  with pytest.raises(helpers.Killed):
    go(config(), tmp_path, killed_after(2))
  other = config(hyper=dict(mu=0.7))
  with pytest.raises(checkpoint.WrongCheckpoint, match='hyper'):
    go(other, tmp_path)


@pytest.mark.matrix
def test_a_sweep_leaves_a_record_a_member_equal_to_its_run(tmp_path):
  swept = config(
    'configs/autorec.py:item,quick,synthetic', sweep=dict(hyper=dict(lr=(0.001, 0.01)))
  )
  records = go(swept, tmp_path / 'sweep')
  assert [record['hyper']['lr'] for record in records] == [0.001, 0.01]
  for record in records:
    hyper = dict(lr=record['hyper']['lr'])
    alone = config('configs/autorec.py:item,quick,synthetic', hyper=hyper)
    (single,) = go(alone, tmp_path / f'{record["hyper"]["lr"]}')
    assert record['valid_rmse'] == pytest.approx(single['valid_rmse'], abs=1e-4)
    assert record['test']['rmse'] == pytest.approx(single['test']['rmse'], abs=1e-4)


@pytest.mark.parametrize('seconds', [0.0, pytest.param(1e9, marks=pytest.mark.matrix)])
def test_a_diverged_run_says_where_and_keeps_the_last_good_checkpoint(
  tmp_path, seconds
):
  wild = config(hyper=dict(beta=3e38, target=3e38))  # Only stage 2 overflows.
  for _ in 'ab':  # The second time it is said from the record.
    with pytest.raises(loop.Diverged, match='stage darec: the loss'):
      go(wild, tmp_path, seconds=seconds)
  (record,) = files.read(tmp_path / 'records.jsonl')
  assert record['failed'] and 'test' not in record
  prepared = prepare.prepare(wild, say=lambda line: None)
  method = methods.of(wild, prepared.sizes)
  given = run.give(wild, [prepared], method)
  progress = run.restore(wild, [prepared], method, tmp_path, given)
  assert (progress.stage, progress.epoch) == (2, 0)
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(progress.best))


def test_a_member_that_diverged_at_once_has_no_measures(tmp_path):
  swept = config(
    'configs/autorec.py:item,quick,synthetic', sweep=dict(hyper=dict(lr=(0.01, 1e30)))
  )
  fine, failed = go(swept, tmp_path)
  assert fine['test']['rmse'] < 2 and not fine['failed']
  assert failed['failed'] and failed['test']['rmse'] is None
  for name in ('records.jsonl', 'metrics.jsonl'):
    text = (tmp_path / name).read_text()
    assert 'NaN' not in text and 'Infinity' not in text
  assert files.read(tmp_path / 'records.jsonl')[1]['valid_rmse'] is None


@pytest.mark.matrix
def test_a_member_that_diverged_has_no_measures_of_the_source_either(tmp_path):
  swept = config(sweep=dict(hyper=dict(lr=(0.01, 1e30))))
  fine, failed = go(swept, tmp_path)
  assert fine['test_source']['rmse'] < 2
  assert failed['test_source']['rmse'] is None


def test_ratings_that_are_all_the_same_are_not_predicted():
  dataset = synthetic.pair(0)
  target = dataset.pair.target
  target = target._replace(value=np.ones_like(target.value))
  ones = dataset._replace(pair=dataset.pair._replace(target=target))
  prepare._check_ratings(protocols.of(config()), dataset)
  with pytest.raises(types.DataError, match='every rating of the target is 1'):
    prepare._check_ratings(protocols.of(config()), ones)


def test_a_state_that_cannot_be_allocated_is_refused():
  huge = config('configs/autorec.py:item,synthetic', model=dict(embed=1_000_000_000))
  prepared = prepare.prepare(huge, say=lambda line: None)
  with pytest.raises(specs.SpecError, match=r'its state takes [\d,]+ GB, and'):
    run.check(huge, prepared)


def test_a_finished_run_is_not_shown_for_data_that_changed(finished):
  folder, _ = finished
  prepared = prepare.prepare(config(), say=lambda line: None)
  prepared = prepared._replace(hashes=prepared.hashes | {'data': 'other'})
  with pytest.raises(specs.SpecError, match='on other data'):
    run.run(config(), prepared, folder, watch=lambda report: None)


def test_a_second_process_waits_for_the_first(tmp_path):
  pytest.importorskip('fcntl')
  said = []

  def say(line):
    said.append(line)
    first.close()

  first = contextlib.ExitStack()
  first.enter_context(store.lock(tmp_path, said.append))
  with store.lock(tmp_path, say):
    assert said == [f'another process is running in {tmp_path}; waiting for it']


@pytest.mark.matrix
def test_a_request_to_stop_saves_the_epoch_that_has_ended(tmp_path):
  go(config(), tmp_path / 'unbroken')

  def watch(report):
    if (report.stage, report.epoch) == ('darec', 2):
      stop.request()

  with pytest.raises(stop.Stopped):
    go(config(), tmp_path / 'broken', watch, seconds=1e9)
  go(config(), tmp_path / 'broken', seconds=1e9)
  assert helpers.run_outcome(tmp_path / 'broken') == helpers.run_outcome(
    tmp_path / 'unbroken'
  )
  lines = files.read(tmp_path / 'broken' / 'metrics.jsonl')
  assert len(lines) == 9
  with pytest.raises(stop.Stopped):  # Nothing is training.
    stop.request()


@pytest.mark.matrix
def test_the_seconds_of_a_broken_run_are_those_of_all_its_parts(tmp_path):
  with pytest.raises(helpers.Killed):
    go(config(), tmp_path, killed_after(4))
  (record,) = go(config(), tmp_path)
  lines = files.read(tmp_path / 'metrics.jsonl')
  assert record['seconds'] == pytest.approx(
    sum(line['seconds'] for line in lines), abs=0.06
  )


def test_the_folder_is_named_by_config_and_seed(tmp_path):
  names = {
    store.folder_of(config(seed=seed, every=every), tmp_path).name
    for seed in (0, 1)
    for every in (1, 2)
  }
  assert len(names) == 4
  assert store.folder_of(config(), tmp_path) == store.folder_of(config(), tmp_path)


def test_a_record_holds_what_is_needed_to_repeat_it(finished):
  folder, (record,) = finished
  assert record['config']['data']['kind'] == 'synthetic'
  assert len(record['hashes']['split']) == 64
  assert record['versions']['jax'] == jax.__version__
  assert record['hyper']['mu'] == 0.01  # Not 0.00999999977.
  assert record['test']['rmse_interval'][0] < record['test']['rmse']
  assert record['test_source']['ratings'] > 0
  assert (folder / 'config.json').exists()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (dict(method='darc'), "method is 'darc'; did you mean 'darec'"),
    (dict(hyper=dict(mv=1.0)), 'hyper.mv is no setting of darec; did'),
    (dict(model=dict(axis='usr')), "model: axis is 'usr'; did you mean"),
    (dict(model=dict(heads=(3,))), 'model: heads'),
    (dict(model=dict(width=3)), 'model.width is no setting of darec'),
    (dict(model=dict(batch=0)), 'model.batch is 0; it must be at least'),
    (dict(model=dict(batch=2**31)), 'it must be below 2**31'),
    (dict(model=dict(heads=(0, 4))), 'model.heads is (0, 4)'),
    (dict(epochs=0), 'epochs is 0; it must be at least 1'),
    (dict(patience=0), 'patience is 0'),
    (dict(every=0), 'every is 0'),
    (dict(every=9, patience=8), 'every is 9; validate at least once'),
    (dict(hyper=dict(lr=-1.0)), 'hyper.lr is -1.0; it must be not neg'),
    (dict(hyper=dict(lr=0.0)), 'hyper.lr is 0.0; it must be above 0'),
    (dict(hyper=dict(lam=float('nan'))), 'hyper.lam is nan'),
    (dict(sweep=dict(hyper=dict(mu=('a',)))), "hyper.mu is 'a'"),
    (dict(name='a/b'), "name is 'a/b'"),
    (dict(name=''), "name is ''"),
    (dict(name='\udcc3'), 'it must be a printable name'),
    (dict(width=-1), 'width is -1; it must be at least 0'),
    (dict(model=dict(heads=(4, 'a'))), "model.heads is (4, 'a'); it"),
    (dict(sweep=dict(seed=(0, 1.5))), 'sweep.seed is 1.5; it must be'),
    (dict(seed=2**32), 'seed is 4294967296; it must be a whole number from 0 to'),
    (dict(sweep=dict(members=(3,))), 'sweep.members is (3,)'),
    (
      dict(sweep=dict(members=(dict(nu=1.0),))),
      'sweep.members.nu is no setting of darec; did you mean',
    ),
  ],
)
def test_a_config_that_cannot_be_run_says_which_field(change, message):
  with pytest.raises(specs.SpecError) as error:
    methods.of(config(**change), base.Sizes(3, 4, 5))
  assert message in str(error.value)


def test_a_run_is_found_by_its_folder_its_name_or_its_hash(tmp_path):
  ease, cold = (tmp_path / each for each in ('ease-seed0-1f', 'ease_cold-seed0-2e'))
  ease.mkdir()
  cold.mkdir()
  assert store.find_run(ease, tmp_path) == ease
  assert store.find_run('ease', tmp_path) == ease
  assert store.find_run('2e', tmp_path) == cold
  with pytest.raises(specs.SpecError, match="did you mean 'ease'"):
    store.find_run('eas', tmp_path)

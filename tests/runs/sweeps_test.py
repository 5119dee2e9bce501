"""A sweep: the runs that it stands for, and the report on them."""

import pytest

from experiments import arguments
from tests import helpers
from xdomain import base, files
from xdomain.reporting import records as records_lib
from xdomain.reporting import terminal
from xdomain.runs import archive, methods, prepare, run, store, sweeps
from xdomain.runs import spec as specs


def config(width=0, epochs=2, **sweep):
  config = specs.from_config(arguments.load('configs/autorec.py:item,quick,synthetic'))
  small = dict(data=helpers.TINY, model=dict(embed=8))
  return specs.replaced(config, width=width, epochs=epochs, sweep=sweep, **small)


def prepared(config):
  return prepare.prepare(config, say=lambda line: None)


def test_settings_are_runs_of_their_own():
  swept = config(seed=(3, 5), model=dict(embed=(8, 16)))
  seeds = specs.by_seed(swept)
  assert [each.seed for each in seeds] == [3, 5]
  parts = sweeps.parts(seeds[0], [prepared(seeds[0])])
  assert [each.model['embed'] for each, _ in parts] == [8, 16]
  assert len({store.folder_of(each, '') for each, _ in parts}) == 2


def test_a_config_without_a_sweep_is_one_part_as_it_is():
  plain = config()
  (seed,) = specs.by_seed(plain)
  ((part, _),) = sweeps.parts(seed, [prepared(seed)])
  assert part == plain


def test_all_members_are_trained_once_whatever_the_width():
  values = dict(lr=(1e-3, 3e-3, 1e-2), alpha=(0.0, 1e-4, 1e-3))
  swept = config(width=4, hyper=values)
  parts = sweeps.parts(swept, [prepared(swept)])
  widths = [len(specs.members(part)) for part, _ in parts]
  assert widths == [4, 4, 1]
  members = [member for part, _ in parts for member in specs.members(part)]
  assert members == specs.members(swept)
  swept = specs.replaced(swept, width=0)  # What fits: these are small.
  data = [prepared(swept)]
  assert sweeps.parts(swept, data) == [(swept, data)]


def test_a_sweep_that_goes_on_has_the_width_that_it_began_with(tmp_path, monkeypatch):
  swept = config(hyper=dict(lr=(1e-3, 1e-2, 1e-1)))
  data = [prepared(swept)]
  begun = sweeps.parts(swept, data, tmp_path)
  assert len(begun) == 1
  monkeypatch.setattr(sweeps.memory, 'width', lambda *args, **kwargs: 1)
  assert sweeps.parts(swept, data, tmp_path) == begun
  assert len(sweeps.parts(swept, data)) == 3
  (path,) = tmp_path.glob('*/members.json')
  path.write_text('{}')
  with pytest.raises(files.DamagedFile, match='is not a number of members'):
    sweeps.parts(swept, data, tmp_path)


def test_a_listed_member_replaces_what_it_names():
  listed = config(members=({'lr': 0.5}, {'alpha': 0.25}))
  first, second = specs.members(listed)
  assert first == listed.hyper | {'lr': 0.5}
  assert second == listed.hyper | {'alpha': 0.25}
  listed = config(members=({'alpa': 0.25},))
  with pytest.raises(specs.SpecError, match=r'sweep\.members'):
    methods.of(listed, base.Sizes(3, 4, 5))


def reported(swept, tmp_path):
  display = terminal.Terminal()
  runs = sweeps.run_all(swept, prepared, None, tmp_path, display)
  records = [record for _, members in runs for record in members]
  sweeps.report(swept, records, tmp_path, display)
  (folder,) = tmp_path.glob('*-sweep-*')
  return records, folder


def test_a_sweep_over_seeds_and_values_leaves_records_table_and_plot(tmp_path, capsys):
  swept = config(width=1, seed=(0, 1), hyper=dict(lr=(1e-3, 1e-2)))
  records, folder = reported(swept, tmp_path)
  assert [(r['seed'], r['hyper']['lr']) for r in records] == [
    (0, 1e-3),
    (0, 1e-2),
    (1, 1e-3),
    (1, 1e-2),
  ]
  assert files.read(folder / 'records.jsonl') == records
  table = (folder / 'table.md').read_text().splitlines()
  assert [line.split(' | ')[:2] for line in table[2:]] == [
    ['| autorec_item lr=0.001', '2'],
    ['| autorec_item lr=0.01', '2'],
  ]
  assert {path.name for path in folder.glob('plot.*')} == {
    'plot.png',
    'plot.svg',
  }
  assert 'autorec_item lr=0.01' in capsys.readouterr().out


def test_a_member_that_diverged_is_named_and_the_others_are_reported(tmp_path, capsys):
  swept = config(hyper=dict(lr=(1e-2, 1e30), alpha=(1e-4, 1e-3)))
  _, folder = reported(swept, tmp_path)
  assert 'alpha=0.001 lr=1e+30 has diverged' in capsys.readouterr().out
  assert len((folder / 'table.md').read_text().splitlines()) == 2 + 2
  assert (folder / 'plot.svg').exists()


def test_a_sweep_whose_members_all_diverged_says_so(tmp_path, capsys):
  swept = config(hyper=dict(lr=(1e29, 1e30)))
  _, folder = reported(swept, tmp_path)
  assert capsys.readouterr().out.count('has diverged') == 2
  assert not (folder / 'table.md').exists()


def seeds_at_once(**fields):
  return config(seed=(0, 4, 5), hyper=dict(lr=(1e-3, 1e-2)), **fields)


@pytest.mark.parametrize(
  'width, seeds',
  [
    (0, [(0,), (4,), (5,)]),
    (7, [(0, 4, 5)]),
    (5, [(0, 4), (5,)]),
    (3, [(0,), (4,), (5,)]),
  ],
)
def test_as_many_seeds_are_trained_at_once_as_fit_with_all_members(width, seeds):
  swept = seeds_at_once(width=width)
  turns = [turn for turn, _ in sweeps.turns(swept, prepared)]
  assert [tuple(each.seed for each in specs.by_seed(turn)) for turn in turns] == seeds
  assert [specs.is_sweep(turn) for turn in turns] == [True] * len(turns)


@pytest.mark.matrix
def test_seeds_at_once_leave_what_each_leaves_alone(tmp_path):
  together, _ = reported(seeds_at_once(width=6), tmp_path / 'together')
  alone, _ = reported(seeds_at_once(width=1), tmp_path / 'alone')
  (folder,) = (tmp_path / 'together').glob('*-seed0-5-*')
  assert len(together) == len(alone) == 6
  there = archive.read(tmp_path / 'together', tmp_path)
  for ours, theirs in zip(together, alone):
    for field in ('hyper', 'seed', 'hashes'):
      assert ours[field] == theirs[field]
    assert ours['test']['rmse'] == pytest.approx(theirs['test']['rmse'], abs=1e-4)
    spec = specs.from_config(theirs['config'] | {'hyper': theirs['hyper'], 'sweep': {}})
    found = archive.find(there, spec, theirs['hashes']['data'])
    assert found.record == ours and found.folder == folder
    sums = records_lib.with_user_sums(*found, ('rmse',))['by_user']
    mean = sum(sums['rmse']) / sum(sums['n'])
    assert mean**0.5 == pytest.approx(ours['test']['rmse'], abs=1e-3)


def test_a_seed_is_not_swept_twice():
  swept = config(seed=(3, 3))
  with pytest.raises(specs.SpecError, match=r'sweep\.seed is \(3, 3\)'):
    methods.check(swept)


def test_the_share_of_a_blend_is_at_most_1():
  of_method = arguments.load('configs/kernel_als.py')
  members = dict(blend=1.0), dict(blend=1.5)
  for number in (1, 2):
    of_method.sweep.members = members[:number]
    spec = specs.from_config(of_method)
    if number == 1:
      methods.check(spec)
  message = 'hyper of kernel_als: .*blend is 1.5; it must be at'
  with pytest.raises(specs.SpecError, match=message):
    methods.check(spec)


def test_a_sweep_of_one_seed_is_a_run_of_it(tmp_path, capsys):
  swept = config(seed=(3,))
  ((turn, _),) = sweeps.turns(swept, prepared)
  assert not specs.is_sweep(turn)
  assert store.folder_of(turn, tmp_path).name.startswith('autorec_item-seed3-')
  (record,), _ = reported(swept, tmp_path)
  assert record['seed'] == 3
  assert 'autorec_item' in capsys.readouterr().out


def test_splits_of_other_sizes_are_trained_one_after_another(tmp_path):
  cold = specs.from_config(arguments.load('configs/ridge.py:cold,quick,synthetic'))
  cold = specs.replaced(cold, width=2, sweep=dict(seed=(0, 1)))
  turns = list(sweeps.turns(cold, prepared))
  assert [turn.seed for turn, _ in turns] == [0, 1]
  several = [data for _, (data,) in turns]
  assert not prepare.alike(several)
  parts = sweeps.parts(cold, several)  # As beside a method that they suit.
  assert [part.seed for part, _ in parts] == [0, 1]
  assert [data for _, (data,) in parts] == several


@pytest.mark.matrix
def test_a_run_of_several_seeds_goes_on_to_the_same_end(tmp_path):
  swept = seeds_at_once(epochs=3, width=6)
  several = [prepared(each) for each in specs.by_seed(swept)]

  def stop(report):
    if report.epoch == 2:
      raise KeyboardInterrupt

  def test_rmse(folder, watch):
    every = run.run(swept, several, tmp_path / folder, watch=watch, seconds=0)
    return [record['test']['rmse'] for record in every]

  with pytest.raises(KeyboardInterrupt):
    test_rmse('broken', stop)
  whole = test_rmse('whole', lambda report: None)
  assert test_rmse('broken', lambda report: None) == whole
  with pytest.raises(specs.SpecError, match='holds a sweep'):
    store.find_trained(tmp_path / 'whole')


def test_a_label_names_what_is_swept():
  swept = config(hyper=dict(lr=(1e-2,)), model=dict(embed=(8,)))
  record = {'hyper': {'lr': 0.01}, 'config': {'model': {'embed': 8}}}
  assert sweeps.label(swept, record) == 'autorec_item lr=0.01 embed=8'

"""Tables: what fills a cell, what is trained, and what is written."""

import csv
import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil

import numpy as np
import pytest

from configs import autorec, bias, common, ease
from experiments import arguments
from tests import helpers
from xdomain import files
from xdomain.data import types
from xdomain.reporting import plots, table_config, terminal
from xdomain.reporting import records as records_lib
from xdomain.runs import archive, data_tables, prepare, run, tables
from xdomain.runs import spec as specs
from xdomain.training import loop


@pytest.fixture(autouse=True)
def trained(monkeypatch):
  """The specs that were trained; `run` invents their results in no time."""
  specs_of_runs = []

  def invented(spec, data, folder, *, watch, seconds=15.0, test=True):
    del data, watch, seconds, test
    specs_of_runs.append(spec)
    members = specs.members(spec)
    if any(member.get('lr', 0) > 1e20 for member in members):
      write_records(folder, [failed(spec, member) for member in members])
      raise loop.Diverged('diverged at once')
    write_records(folder, [record(spec, member) for member in members])
    users = np.arange(40)
    rng = np.random.default_rng(spec.seed)
    truth = rng.integers(1, 6, users.size).astype(float)
    rating = np.stack([truth + record(spec, m)['test']['rmse'] for m in members])
    np.savez(folder / 'test.npz', user=users, truth=truth, rating=rating)
    return records_lib.read(folder)

  monkeypatch.setattr(run, 'run', invented)
  monkeypatch.setattr(tables.prepare, 'prepare', lambda spec, say: None)
  monkeypatch.setattr(tables.cache, 'digest', lambda dataset: digest(dataset.pair))
  return specs_of_runs


@pytest.fixture(autouse=True)
def plotted(monkeypatch):
  """The names of folders that have a plot; to draw it takes longer than all else."""
  names = []
  monkeypatch.setattr(
    plots, 'save', lambda draw, folder, say: names.append(folder.name)
  )
  return names


def digest(pair):
  return hashlib.sha256(pair.target.value.tobytes()).hexdigest()


def record(spec, member):
  """A record whose RMSE depends on everything that decides it."""
  text = json.dumps(specs.identity(spec, member), sort_keys=True)
  noise = hashlib.sha256(text.encode()).digest()[0] / 1000
  rmse = 1 + 0.5 * (spec.method == 'bias') + noise
  return helpers.rating_record(spec.name, spec.seed, rmse) | {
    'config': specs.plain(spec),
    'hyper': member,
    'hashes': {'data': data_of(spec), 'split': f'{spec.split}{spec.seed}'},
  }


def data_of(spec):
  return digest(tables.sources.dataset(say=lambda line: None, **spec.data).pair)


def failed(spec, member):
  made = record(spec, member) | {'failed': True, 'valid_rmse': None, 'epoch': 0}
  del made['test']
  return made


def write_records(folder, made):
  files.write(folder / 'records.jsonl', ''.join(map(files.line, made)))


def small(rows=None, **settings):
  """Two raters on a small pair, one column a share of the ratings."""
  config = common.table(
    'small',
    common.parse_arg('quick,synthetic', **common.TABLE_ARGUMENT),
    title='A small table',
    rows=rows or {'bias': (bias,), 'AutoRec': (autorec, 'item')},
    columns={'80 %': dict(terms=dict(split=dict(test=0.2))), '90 %': {}},
    paper={'AutoRec': {'80 %': {'rmse': 0.5}}},
    data=common.data('synthetic') | helpers.TINY,
    **settings,
  )
  for method in config.methods.values():
    method.epochs, method.width = 3, 100
  return config


def fill(config, folder, workdir='runs'):
  table = table_config.from_config(config)
  tables.fill(table, folder / workdir, folder / 'out', terminal.Terminal())
  return folder / 'out' / config.name


@pytest.fixture
def filled(tmp_path, trained):
  """A folder with the small table, its runs and its records."""
  fill(small(), tmp_path)
  trained.clear()
  return tmp_path


def test_every_cell_is_the_rows_method_on_the_columns_terms():
  cells = tables.cells(table_config.from_config(small()))
  assert list(cells) == [
    ('bias', '80 %'),
    ('bias', '90 %'),
    ('AutoRec', '80 %'),
    ('AutoRec', '90 %'),
  ]
  assert cells['AutoRec', '80 %'].split == {'test': 0.2, 'valid': 0.1}
  assert cells['AutoRec', '90 %'].split['test'] == 0.1
  assert cells['AutoRec', '80 %'].method == 'autorec'
  assert cells['bias', '80 %'].data['users'] == 40


@pytest.mark.parametrize(
  'change, reason',
  [
    (dict(rows=('bais',)), r"rows names 'bais'; did you mean 'bias'"),
    (dict(seeds=(0, 1, 0)), r'seeds names 0 more than once'),
    (dict(measures=('hr',)), r"measures names 'hr'"),
    (dict(columns=()), r'columns is empty'),
  ],
)
def test_a_field_that_is_wrong_is_named(change, reason):
  config = small()
  config.update(change)
  with pytest.raises(specs.SpecError, match=reason):
    tables.cells(table_config.from_config(config))


def test_a_table_is_written_and_written_again_without_training(
  filled, trained, plotted, capsys
):
  folder = filled / 'out' / 'small_synthetic_quick'
  first = {path.name: path.read_bytes() for path in folder.iterdir()}
  assert set(first) == {
    'table.md',
    'table.csv',
    'table.tex',
    'records.jsonl.xz',
  }
  assert plotted == [folder.name]
  kept = records_lib.read(folder / 'records.jsonl.xz')
  assert len(kept) == 2 * 2 * 2
  lines = list(csv.DictReader(first['table.csv'].decode().splitlines()))
  of_one = [r for r in kept if (r['row'], r['column']) == ('bias', '80 %')]
  mean = np.mean([record['test']['rmse'] for record in of_one])
  assert float(lines[0]['mean']) == pytest.approx(mean, abs=1e-6)
  assert '<br>paper 0.5000' in first['table.md'].decode()
  assert 'over users)' in first['table.md'].decode()  # There are two seeds.
  for workdir in ('runs', 'none'):  # What is kept suffices.
    capsys.readouterr()
    fill(small(), filled, workdir)
    assert not trained
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == first
    assert first['table.md'].decode() in capsys.readouterr().out


def test_sums_of_each_user_add_up_to_the_measure(filled):
  for kept in records_lib.read(filled / 'out/small_synthetic_quick/records.jsonl.xz'):
    sums = kept['by_user']
    mean = sum(sums['rmse']) / sum(sums['n'])
    assert mean**0.5 == pytest.approx(kept['test']['rmse'], rel=1e-2)


def test_a_record_that_another_table_kept_fills_the_cell_of_this_one(filled, trained):
  config = small()
  with config.unlocked():
    config.name = 'other'
    config.on.ninety = config.on['90 %']
    config.columns = ('ninety',)
  folder = fill(config, filled, 'none')
  kept = records_lib.read(folder / 'records.jsonl.xz')
  assert not trained and len(kept) == 4
  assert {record['column'] for record in kept} == {'ninety'}
  assert all(set(record['by_user']) == {'n', 'rmse'} for record in kept)


def test_only_missing_runs_are_trained(filled, trained):
  config = small()
  config.methods.bias.hyper.penalty = 9.0
  config.seeds = (0, 1, 2)
  fill(config, filled)
  by_name = [(spec.name, spec.seed) for spec in trained]
  assert by_name.count(('autorec_item', 2)) == 2
  assert len(by_name) == 2 + 6


def test_runs_that_differ_in_hyper_parameters_are_trained_together():
  one, other, third = (
    specs.from_config(arguments.load('configs/bias.py:quick,synthetic'))
    for _ in range(3)
  )
  other = specs.replaced(other, hyper=dict(penalty=9.0))
  third = specs.replaced(third, epochs=7)
  both, alone = tables.together([one, other, third])
  assert [m['penalty'] for m in specs.members(both)] == [one.hyper['penalty'], 9.0]
  assert alone.epochs == 7 and not specs.is_sweep(alone)


@pytest.mark.parametrize(
  'change, reason',
  [
    (dict(rows=('bias',)), 'AutoRec of 80 %, seed 0'),
    (dict(seeds=(1,)), 'seed 0'),
    (dict(data=dict(seed=7)), 'on other data'),
  ],
)
def test_a_table_never_replaces_records_that_it_would_lose(filled, change, reason):
  path = filled / 'out/small_synthetic_quick/records.jsonl.xz'
  before = path.read_bytes()
  narrow = small()
  narrow.update(change)
  with pytest.raises(specs.SpecError, match=reason):
    fill(narrow, filled)
  assert path.read_bytes() == before


# --- The archive ------------------------------------------------------------


def cell(row='AutoRec', **fields):
  return specs.replaced(
    tables.cells(table_config.from_config(small()))[row, '80 %'], seed=0, **fields
  )


@pytest.mark.parametrize(
  'change',
  [
    dict(epochs=4),
    dict(hyper=dict(alpha=0.5)),
    dict(model=dict(embed=8)),
    dict(split=dict(valid=0.2)),
    dict(view='alone'),
    dict(seed=7),
  ],
)
def test_a_record_of_another_spec_fills_no_cell(filled, change):
  there = archive.read(filled / 'runs', filled / 'out')
  assert archive.find(there, cell(), data_of(cell()))
  assert not archive.find(there, specs.replaced(cell(), **change), data_of(cell()))


def test_a_record_of_other_data_or_of_another_version_fills_no_cell(
  filled, monkeypatch
):
  there = archive.read(filled / 'runs', filled / 'out')
  assert not archive.find(there, cell(), 'another')
  assert archive.find(there, cell(), None)  # By the name of the data.
  assert not archive.find(there, cell(data=dict(seed=1)), None)
  monkeypatch.setattr(specs, 'comparable', lambda version: False)
  assert not archive.read(filled / 'runs', filled / 'out')


def test_a_record_with_the_sums_of_users_is_preferred(filled):
  there = archive.read(filled / 'none', filled / 'out')
  found = archive.find(there, cell('bias'), None)
  other = found._replace(record=found.record | {'by_user': {'n': [1]}})
  there = {key: [other, *every] for key, every in there.items()}
  assert archive.find(there, cell('bias'), None) is other
  assert archive.find(there, cell('bias'), None, ('rmse',)) is found


def test_a_damaged_record_is_named_by_its_file_and_line(filled):
  path = next(filled.glob('runs/*/records.jsonl'))
  path.write_text(path.read_text() + '{"name": "x"')
  with pytest.raises(files.DamagedFile, match=r'records\.jsonl, line \d is not JSON'):
    fill(small(), filled)


# --- What is not there ------------------------------------------------------


def not_here(say, **data):
  raise types.DataError('the files are missing')


def test_a_column_without_data_is_empty_and_says_so(tmp_path, monkeypatch):
  monkeypatch.setattr(tables.sources, 'dataset', not_here)
  folder = fill(small(), tmp_path)
  text = (folder / 'table.md').read_text()
  assert 'Not here: the files are missing' in text
  assert '| bias | - | - |' in text and 'paper 0.5000' in text
  assert not (folder / 'records.jsonl.xz').exists()


def test_a_run_that_diverged_leaves_the_others_and_is_named(tmp_path, trained):
  config = small()
  config.methods.AutoRec.hyper.lr = 1e30
  folder = fill(config, tmp_path)
  text = (folder / 'table.md').read_text()
  assert '| AutoRec | paper 0.5000 | - |' in text
  assert 'AutoRec (80 %) diverged on 2 of 2 seeds' in text
  trained.clear()
  fill(config, tmp_path)
  fill(config, tmp_path, 'none')
  assert not trained and (folder / 'table.md').read_text() == text


def test_a_table_of_runs_that_all_diverged_has_no_plot(tmp_path, plotted):
  config = small({'AutoRec': (autorec, 'item')})
  config.methods.AutoRec.hyper.lr = 1e30
  folder = fill(config, tmp_path)
  assert {path.name for path in folder.iterdir()} == {
    'table.md',
    'table.csv',
    'table.tex',
    'records.jsonl.xz',
  }
  assert not plotted


# --- Tuning -----------------------------------------------------------------


@pytest.fixture
def searched(monkeypatch):
  """The specs that were searched; the last values are always the best."""
  specs_of_searches = []

  def search(spec, data, workdir, display):
    specs_of_searches.append(spec)
    best = {n: values[-1] for n, values in spec.search.hyper.items()}
    return {
      'trials': [{'model': {}, 'hyper': best, 'valid': 1.0, 'epoch': 1}],
      'version': '0.1.0',
      'hashes': {'data': data_of(spec)},
      'epochs': 3,
      'patience': 3,
      'seconds': 1.0,
    }

  monkeypatch.setattr(tables.tune, 'search', search)
  return specs_of_searches


def test_rows_are_tuned_once_on_each_split(tmp_path, monkeypatch, trained, searched):
  config = small(tune=True)
  folder = fill(config, tmp_path)
  kept = files.read(folder / 'search.jsonl')
  assert [search['row'] for search in kept] == ['bias'] * 4 + ['AutoRec'] * 4
  assert [spec.seed for spec in searched] == [0, 1] * 4
  best = kept[-1]['trials'][0]['hyper']
  for each in records_lib.read(folder / 'records.jsonl.xz'):
    if each['row'] == 'AutoRec':
      assert {name: each['hyper'][name] for name in best} == best
  trained.clear()
  fill(config, tmp_path)
  text = (folder / 'table.md').read_text()
  about = next(line for line in text.splitlines() if line.startswith('| bias | 1 '))
  assert f'| {4 / 60 / tables.tune.CORES:.1f} |' in about
  assert all(name in about for name in searched[0].search.hyper)
  monkeypatch.setattr(tables.sources, 'dataset', not_here)
  fill(config, tmp_path, 'none')
  assert not trained and len(searched) == 8
  assert (folder / 'table.md').read_text().startswith(text[:400])


def rankings(**settings):
  config = common.table(
    'small',
    common.parse_arg('quick,synthetic', **common.TABLE_ARGUMENT),
    title='Rankings',
    rows={'EASE': (ease,)},
    columns={'planted': {}},
    measures=('full ndcg@10',),
    data=common.data('synthetic_implicit') | helpers.TINY,
    seeds=(0, 1, 2),
    **settings,
  )
  return table_config.from_config(config)


def test_rankings_are_searched_once(tmp_path, searched):
  config = rankings(tune=True)
  wanted = tables.cells(config)
  (spec,) = wanted.values()
  digests = {tables._key(spec.data): data_of(spec)}
  search = functools.partial(tables.tune.search, data=None, workdir='', display=None)
  for _ in range(2):
    runs = tables._runs(config, wanted)
    tuned, found = tables._tuned(config, runs, digests, tmp_path, search)
    assert len(searched) == len(found) == 1 and found[0]['apart'] == [0, 1, 2]
    best = found[0]['trials'][0]['hyper']['penalty']
    assert [each.hyper['penalty'] for each in tuned.values()] == [best] * 3
  assert searched[0].search.minutes == spec.search.minutes
  runs = {place: specs.replaced(each, seed=5) for place, each in runs.items()}
  other = dataclasses.replace(config, seeds=(5,))
  tables._tuned(other, runs, digests, tmp_path, search)
  assert len(searched) == 2


def test_a_search_of_a_ranking_sees_no_item_that_a_seed_tests_on():
  (spec,) = tables.cells(rankings()).values()
  rest = prepare.prepare_apart(spec, range(3), print).split
  items = rest.train.target.n_items

  def cells(held):
    return set((held.user.astype(int) * items + held.item).tolist())

  valid, seen = rest.valid.target, cells(rest.train.target)
  assert valid.negatives.shape[0] == valid.user.size == valid.value.size
  assert np.bincount(valid.user).max() == 2 and cells(valid).isdisjoint(seen)
  tested = [
    prepare.split_of(specs.replaced(spec, seed=seed), print)[1].test.target
    for seed in range(3)
  ]
  tested = set.union(*map(cells, tested))
  assert tested and tested.isdisjoint(seen | cells(valid))


def test_a_search_of_a_table_by_time_sees_nothing_since_the_test(tmp_path):
  rng = np.random.default_rng(0)
  data = {'kind': 'tables_implicit', 'rating': '', 'time': 'time'}
  for name in ('source', 'target'):
    user, item = np.divmod(rng.permutation(40 * 30)[:600], 30)
    # The last users come after the cut, and so are not tested themselves.
    time = rng.integers(0, 1000, 600) + np.where(user < 38, 0, 1000)
    lines = ('user,item,time', *map(f'{{}},{name}{{}},{{}}'.format, user, item, time))
    data[name] = str(tmp_path / f'{name}.csv')
    pathlib.Path(data[name]).write_text('\n'.join(lines))
  (spec,) = tables.cells(rankings()).values()
  spec = dataclasses.replace(spec, protocol='time_split', data=data, split={})
  dataset, split = prepare.split_of(spec, print)
  rest = prepare.prepare_apart(spec, range(3), print).split

  def times(part):
    target = dataset.pair.target
    at = zip(target.user.tolist(), target.item.tolist(), strict=True)
    time = dict(zip(at, target.time.tolist(), strict=True))
    return [time[each] for each in zip(part.user.tolist(), part.item.tolist())]

  cut = min(times(split.test.target))
  assert cut < max(dataset.pair.target.time) - 500
  assert max(times(rest.train.target) + times(rest.valid.target)) < cut
  assert max(rest.train.source.time) < cut


@pytest.mark.parametrize(
  'line, fault',
  [
    ('{"row": "bias"}', "'config' is missing"),
    ('["bias"]', 'is not a JSON object'),
    ('{"row": "bi', 'is not JSON'),
  ],
)
def test_a_damaged_search_is_named_by_its_file_and_line(
  tmp_path, searched, line, fault
):
  folder = fill(small(tune=True), tmp_path)
  with (folder / 'search.jsonl').open('a') as file:
    file.write(line + '\n')
  with pytest.raises(files.DamagedFile, match=r'search\.jsonl, line 9') as at:
    fill(small(tune=True), tmp_path)
  assert fault in str(at.value)


@pytest.mark.parametrize(
  ('table', 'fixed', 'own'),
  [
    ('configs/sharedvae_figure2.py:amazon', ('hyper', 'beta'), 90.0),
    ('configs/darec_figure2.py:amazon', ('model', 'embed'), 500),
  ],
)
def test_a_search_leaves_to_columns_what_they_set(table, fixed, own):
  config = table_config.from_config(arguments.load(table))
  field, name = fixed
  for (row, column), spec in tables.cells(config).items():
    assert getattr(spec, field)[name] == config.on[column]['x']
    assert name not in getattr(spec.search, field) and not tables.tune.is_empty(spec)
    assert getattr(tables.as_searched(config, row, spec), field)[name] == own


def test_an_ablation_does_not_search_for_the_part_that_it_leaves_out():
  config = arguments.load('configs/darec_ablation.py:tables')
  row = config.methods['I-DARec without classifier and source']
  assert not {'mu', 'domain', 'beta'} & set(row.search.hyper)


# --- Overviews --------------------------------------------------------------


def test_an_overview_counts_missing_runs_and_their_hours(filled):
  config = small()
  config.seeds = (0, 1, 2)
  named = [('small', table_config.from_config(config)), ('sizes', None)]
  row, of_sizes = tables.overview(named, filled / 'runs', filled / 'out')
  assert row == {
    'table': 'small',
    'runs': '12',
    'missing': '4',
    'hours': '0.0',
    'data': 'synthetic',
  }
  assert of_sizes == {'table': 'sizes'} | dict.fromkeys(list(row)[1:], '')
  row, _ = tables.overview(named, filled / 'none', filled / 'none')
  assert (row['missing'], row['hours']) == ('12', '?')


# --- Sizes of data ----------------------------------------------------------


def sizes(**paper):
  data = {'small': common.data('synthetic') | helpers.TINY}
  return data_tables.DataTable('sizes', 'configs/sizes.py', 'Sizes', data, paper)


def test_sizes_of_data_stand_beside_the_papers(tmp_path, capsys):
  config = sizes(small=dict.fromkeys(data_tables.COUNTS, 10))
  data_tables.write(config, tmp_path, terminal.Terminal())
  table = (tmp_path / 'sizes' / 'table.md').read_text()
  assert '| small | 40 | 15 | 400 | 15 | 400 | 33.33 % | 33.33 % |' in table
  assert '| small, paper | 10 | 10 | 10 | 10 | 10 | 90.00 % |' in table
  assert table in capsys.readouterr().out
  assert r'33.33 \% \\' in (tmp_path / 'sizes' / 'table.tex').read_text()


def test_sizes_of_missing_data_alone_are_an_error(tmp_path, monkeypatch):
  monkeypatch.setattr(data_tables.sources, 'dataset', not_here)
  with pytest.raises(types.DataError, match='files are missing'):
    data_tables.write(sizes(), tmp_path, terminal.Terminal())


def test_kept_tables_can_be_copied_without_their_runs(filled, tmp_path, trained):
  shutil.copytree(filled / 'out', tmp_path / 'copy' / 'out')
  fill(small(), tmp_path / 'copy')
  assert not trained

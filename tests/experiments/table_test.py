"""A table: what fills its cells, what is trained, and what is written."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

from configs import autorec, bias, common, item_pop, shared_vae
from experiments import (
  arguments,
  cells,
  claims,
  layout,
  make,
  show,
  statistics,
  summary,
)
from xdomain import files
from xdomain.data import types
from xdomain.reporting import figures, report, typeset
from xdomain.runs import run, store
from xdomain.runs import spec as specs


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch, request):
  monkeypatch.chdir(request.config.rootpath)


def small(rows=None, **settings):
  """Two raters on a small pair, one column a share of the ratings."""
  arg = common.parse_arg('quick', **common.TABLE_ARGUMENT)
  config = common.table(
    'small',
    arg,
    title='A small table',
    rows=rows or {'bias': (bias,), 'AutoRec': (autorec, 'item')},
    columns={
      '80 %': dict(terms=dict(split=dict(test=0.2))),
      '90 %': {},
    },
    paper={'AutoRec': {'80 %': {'rmse': 0.5}}},
    data=common.synthetic(),
    **settings,
  )
  for method in config.methods.values():
    method.epochs = 3
  return config


@pytest.fixture(scope='module')
def filled_once(tmp_path_factory):
  folder = tmp_path_factory.mktemp('table')
  fill(small(), folder)
  return folder


@pytest.fixture
def filled(filled_once, tmp_path):
  """A folder with the small table, its runs and its records."""
  return shutil.copytree(filled_once, tmp_path / 'filled')


def fill(config, tmp_path):
  make.table(config, tmp_path / 'runs', tmp_path / 'out', show.Show())
  return tmp_path / 'out' / config.name


def test_every_cell_is_the_rows_config_on_the_columns_terms():
  there = cells.of(small())
  assert list(there) == [
    ('bias', '80 %'),
    ('bias', '90 %'),
    ('AutoRec', '80 %'),
    ('AutoRec', '90 %'),
  ]
  assert there['AutoRec', '80 %'].split['test'] == 0.2
  assert there['AutoRec', '90 %'].split['test'] == 0.1
  assert there['AutoRec', '80 %'].method == 'autorec'


def test_a_row_that_is_not_known_is_answered_with_what_would_do():
  config = small()
  config.rows = ('bais',)
  with pytest.raises(specs.SpecError, match=r"rows names 'bais'; did you"):
    cells.of(config)


def test_a_seed_counts_once():
  config = small()
  config.seeds = (0, 1, 0)
  with pytest.raises(specs.SpecError, match='seeds names 0 more than once'):
    cells.of(config)


def test_a_table_is_trained_written_and_printed_again_without_training(
  filled, monkeypatch, capsys
):
  folder = filled / 'out' / 'small_quick'
  first = {path.name: path.read_bytes() for path in folder.iterdir()}
  assert set(first) == {
    'table.md',
    'table.csv',
    'table.tex',
    'plot.png',
    'plot.svg',
    'records.jsonl.xz',
  }
  records = files.read(folder / 'records.jsonl.xz')
  assert len(records) == 2 * 2 * 2
  lines = list(csv.DictReader(first['table.csv'].decode().splitlines()))
  of_one = [r for r in records if (r['row'], r['column']) == ('bias', '80 %')]
  mean = np.mean([record['test']['rmse'] for record in of_one])
  assert float(lines[0]['mean']) == pytest.approx(mean, abs=1e-6)
  assert '<br>paper 0.5000' in first['table.md'].decode()
  capsys.readouterr()
  monkeypatch.setattr(make, '_train', None)
  fill(small(), filled)
  again = {path.name: path.read_bytes() for path in folder.iterdir()}
  assert again == first
  assert first['table.md'].decode() in capsys.readouterr().out


def test_what_is_kept_suffices_where_there_are_no_run_folders(filled, monkeypatch):
  folder = filled / 'out' / 'small_quick'
  table = (folder / 'table.md').read_text()
  monkeypatch.setattr(make, '_train', None)
  make.table(small(), filled / 'none', filled / 'out', show.Show())
  assert (folder / 'table.md').read_text() == table


def test_a_record_kept_by_another_table_stands_in_the_cell_of_this_one(
  filled, monkeypatch
):
  config = small()
  with config.unlocked():
    config.name = 'other'
    config.on.ninety = config.on['90 %']
    config.columns = ('ninety',)
  monkeypatch.setattr(make, '_train', None)
  make.table(config, filled / 'none', filled / 'out', show.Show())
  records = files.read(filled / 'out' / 'other' / 'records.jsonl.xz')
  assert {record['column'] for record in records} == {'ninety'}
  assert len(records) == 4
  for record in records:
    assert set(record['by_user']) == {'n', 'rmse'}


def test_only_what_is_missing_is_trained(filled, monkeypatch):
  trained, train = [], run.run
  monkeypatch.setattr(
    run, 'run', lambda c, *a, **k: trained.append(c) or train(c, *a, **k)
  )
  config = small()
  config.methods.bias.hyper.penalty = 9.0
  config.seeds = (0, 1, 2)
  fill(config, filled)
  assert [(c.name, c.seed) for c in trained if c.name != 'bias'] == [
    ('autorec_item', 2),
    ('autorec_item', 2),
  ]
  assert len([c for c in trained if c.name == 'bias']) == 6


def test_a_table_does_not_write_over_records_that_it_would_lose(filled):
  folder = filled / 'out' / 'small_quick'
  before = (folder / 'records.jsonl.xz').read_bytes()
  for change, said in (
    (dict(rows=('bias',)), 'AutoRec of 80 %, seed 0'),
    (dict(seeds=(1,)), 'seed 0'),
    (dict(data=dict(seed=7)), 'on other data'),
  ):
    narrow = small()
    narrow.update(change)
    with pytest.raises(specs.SpecError, match=said):
      fill(narrow, filled)
  assert (folder / 'records.jsonl.xz').read_bytes() == before


@pytest.mark.parametrize(
  'change',
  [dict(epochs=4), dict(hyper=dict(alpha=0.5)), dict(model=dict(embed=8))],
)
def test_a_record_of_another_config_fills_no_cell(filled, change):
  config = small()
  cell = cells.of(config)['AutoRec', '80 %']
  there = cells.archive(filled / 'runs', filled / 'out')
  digest = _digest(there)
  assert cells.find(there, cell, digest)
  cell = specs.replaced(cell, **change)
  assert not cells.find(there, cell, digest)


def _digest(there):
  (digest,) = {
    found.record['hashes']['data'] for each in there.values() for found in each
  }
  return digest


def test_a_record_of_other_data_or_another_version_fills_no_cell(filled, monkeypatch):
  config = small()
  cell = cells.of(config)['bias', '80 %']
  there = cells.archive(filled / 'runs', filled / 'out')
  assert not cells.find(there, cell, 'another')
  assert cells.find(there, cell, None)  # Told by the place of the data.
  cell = specs.replaced(cell, data=dict(seed=1))
  assert not cells.find(there, cell, None)
  monkeypatch.setattr(specs.xdomain, '__version__', '99')
  assert not cells.archive(filled / 'runs', filled / 'out')
  assert not (filled / 'runs' / store.folder_of(cell, '').name).exists()


def test_of_the_same_run_the_record_that_a_table_can_use_is_found(filled):
  cell = cells.of(small())['bias', '80 %']
  there = cells.archive(filled / 'none', filled / 'out')
  found = cells.find(there, cell, None)
  other = found._replace(record=found.record | {'by_user': {'n': [1]}})
  there = {key: [other, *all_of] for key, all_of in there.items()}
  assert cells.find(there, cell, None) is other
  assert cells.find(there, cell, None, ('rmse',)) is found
  assert layout._gap([found.record], [other.record], 'rmse') is None


def test_what_differs_in_hyper_parameters_alone_is_trained_together():
  one = specs.from_config(arguments.load('configs/bias.py:quick'))
  other = specs.replaced(one, hyper=dict(penalty=9.0))
  third = specs.replaced(one, epochs=7)
  both, alone = cells.together([one, other, third])
  assert [m['penalty'] for m in specs.members(both)] == [
    one.hyper['penalty'],
    9.0,
  ]
  assert alone.epochs == 7 and not specs.is_sweep(alone)


def test_what_users_came_to_adds_up_to_the_measure(filled):
  folder = filled / 'out' / 'small_quick'
  for record in files.read(folder / 'records.jsonl.xz'):
    by_user = record['by_user']
    mean = sum(by_user['rmse']) / sum(by_user['n'])
    assert mean**0.5 == pytest.approx(record['test']['rmse'], rel=1e-2)


def ranking():
  arg = common.parse_arg('quick', **common.TABLE_ARGUMENT)
  config = common.table(
    'ranked',
    arg,
    title='Rankings',
    rows={'popularity': (item_pop,), 'SharedVAE': (shared_vae,)},
    columns={'planted': {}},
    measures=common.RANKING,
    data=common.synthetic_implicit(),
  )
  config.methods.SharedVAE.epochs = 10
  return config


def test_rankings_are_shown_at_10_and_then_sampled_and_full(tmp_path):
  folder = fill(ranking(), tmp_path)
  text = (folder / 'table.md').read_text()
  at_10, sampled, full = re.findall(r'^\| method \| (.*) \|$', text, re.MULTILINE)
  assert at_10 == 'HR@10 | NDCG@10 | full HR@10 | full NDCG@10'
  assert sampled.startswith('HR@5 | HR@10') and 'full' not in sampled
  assert full == 'full ' + sampled.replace('| ', '| full ')
  record = files.read(folder / 'records.jsonl.xz')[0]
  by_user, test = record['by_user'], record['test']
  for measure in ('sampled ndcg@10', 'full hr@50'):
    kind, name = measure.split()
    mean = sum(by_user[measure]) / sum(by_user['n'])
    assert mean == pytest.approx(test[kind][name], abs=2e-3)


def record(seed, n, errors):
  return {'seed': seed, 'by_user': {'n': n, 'rmse': errors}}


def test_a_gap_is_summed_over_the_seeds_that_both_have():
  ours = [record(0, [1, 2], [1.0, 4.0]), record(1, [1, 1], [2.0, 2.0])]
  theirs = [record(1, [1, 1], [1.0, 3.0]), record(2, [1, 1], [9.0, 9.0])]
  gap, weight = layout._gap(ours, theirs, 'rmse')
  assert gap.tolist() == [1.0, -1.0] and weight.tolist() == [1.0, 1.0]
  assert layout._gap(ours[:1], theirs, 'rmse') is None


def test_those_who_were_asked_of_other_users_are_not_paired():
  ours, theirs = record(0, [1, 2], [1.0, 4.0]), record(0, [2, 1], [1.0, 4.0])
  assert layout._gap([ours], [theirs], 'rmse') is None


def test_a_summary_of_kept_records_has_a_row_a_cell(filled):
  records = files.read(filled / 'out' / 'small_quick' / 'records.jsonl.xz')
  rows = report.over_seeds(summary._named(records))
  assert [(row['method'], row['seeds']) for row in rows] == [
    ('bias, 80 %', '2'),
    ('bias, 90 %', '2'),
    ('AutoRec, 80 %', '2'),
    ('AutoRec, 90 %', '2'),
  ]
  of_column = [record for record in records if record['column'] == '90 %']
  names = {record['name'] for record in summary._named(of_column)}
  assert names == {'bias', 'AutoRec'}


def test_all_but_the_best_are_compared_with_it(filled):
  folder = filled / 'out' / 'small_quick'
  lines = list(csv.DictReader((folder / 'table.csv').read_text().splitlines()))
  of_best = [line for line in lines if line['best'] == '1']
  assert len(of_best) == 2
  assert all(line['p_of_no_difference_to_best'] == '' for line in of_best)
  others = [line for line in lines if line['best'] == '0']
  assert all(float(x['p_of_no_difference_to_best']) <= 1 for x in others)


def test_data_that_is_not_here_leaves_an_empty_column_that_says_so(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(make.sources, 'dataset', _not_here)
  folder = fill(small(), tmp_path)
  text = (folder / 'table.md').read_text()
  assert 'Not here: not here' in text
  assert '| bias | - | - |' in text and 'paper 0.5000' in text
  assert not (folder / 'records.jsonl.xz').exists()


def test_rows_are_tuned_once_on_the_data_of_their_column(tmp_path, monkeypatch):
  config = small()
  config.tune = True
  folder = fill(config, tmp_path)
  lines = files.read(folder / 'search.jsonl')
  assert [line['row'] for line in lines] == ['bias', 'AutoRec']
  assert all(len(line['trials']) == 8 for line in lines)
  best = lines[1]['trials'][0]['hyper']
  for each in files.read(folder / 'records.jsonl.xz'):
    if each['row'] == 'AutoRec':
      assert {name: each['hyper'][name] for name in best} == best
  monkeypatch.setattr(make.search, 'search', None)
  monkeypatch.setattr(make, '_train', None)
  fill(config, tmp_path)
  table = (folder / 'table.md').read_text()
  monkeypatch.setattr(make.sources, 'dataset', _not_here)
  make.table(config, tmp_path / 'none', tmp_path / 'out', show.Show())
  assert (folder / 'table.md').read_text().startswith(table[:400])


@pytest.mark.parametrize(
  ('table', 'fixed', 'own'),
  [
    ('configs/sharedvae_figure2.py:amazon', ('hyper', 'beta'), 90.0),
    ('configs/darec_figure2.py:amazon', ('model', 'embed'), 500),
  ],
)
def test_a_search_leaves_what_columns_set_to_them(table, fixed, own):
  config = arguments.load(table)
  field, name = fixed
  for (row, column), cell in cells.of(config).items():
    assert getattr(cell, field)[name] == config.on[column].x
    assert name not in getattr(cell.search, field) and not make.search.is_empty(cell)
    assert getattr(cells.as_searched(config, row, cell), field)[name] == own


def test_a_part_that_an_ablation_takes_away_is_not_searched_for():
  config = arguments.load('configs/darec_ablation.py:tables')
  row = config.methods['I-DARec without classifier and source']
  assert row.search.hyper.to_dict() == {'lam': (3e-5, 3e-4)}


def _not_here(say, **data):
  raise types.DataError('not here')


def test_an_overview_counts_what_is_missing(tmp_path):
  rows = make.overview(tmp_path, tmp_path)
  by_name = {row['table']: row for row in rows}
  of_table2 = by_name['configs/darec_table2.py']
  assert of_table2['runs'] == of_table2['missing'] == '90'
  assert of_table2['hours'] == '?'
  assert len(rows) >= 13


def test_an_overview_is_of_the_table_that_is_asked_for(tmp_path):
  (row,) = make.overview(tmp_path, tmp_path, small())
  assert row['table'] == small().name and row['runs'] == row['missing']


def test_sizes_of_data_stand_beside_the_papers(tmp_path, capsys):
  arg = common.parse_arg('', data=('movielens', 'amazon'))
  config = common.statistics(
    'sizes',
    arg,
    title='Sizes',
    data={'small': common.synthetic()},
    paper={'small': dict.fromkeys(statistics.COUNTS, 10)},
  )
  statistics.table(config, tmp_path, show.Show())
  table = (tmp_path / 'sizes' / 'table.md').read_text()
  assert '| small | 300 | 80 | 6,000 | 120 | 9,000 | 75.00 % | 75.00 % |' in (table)
  assert '| small, paper | 10 | 10 | 10 | 10 | 10 | 90.00 % |' in table
  assert table in capsys.readouterr().out


def test_sizes_of_nothing_but_missing_data_are_an_error(tmp_path, monkeypatch):
  arg = common.parse_arg('', data=('movielens', 'amazon'))
  config = common.statistics(
    'sizes', arg, title='Sizes', data={'small': common.synthetic()}, paper={}
  )
  monkeypatch.setattr(statistics.sources, 'dataset', _not_here)
  with pytest.raises(types.DataError, match='not here'):
    statistics.table(config, tmp_path, show.Show())


def test_the_command_of_own_files_can_be_pasted():
  config = common.table(
    'own',
    common.parse_arg('tables', **common.TABLE_ARGUMENT),
    title='Own',
    rows={'bias': (bias,)},
    columns={'90 %': {}},
    data=common.tables() | dict(separator=';', scale=(1.0, 10.0)),
  )
  words = layout._command(config)
  assert "'--config.data.separator=;'" in words
  assert 'config.name' not in words and 'config.seeds' not in words
  config.name, config.seeds = 'mine', (0, 1)
  assert "--config.name=mine \\\n  '--config.seeds=(0, 1)'" in (layout._command(config))
  assert "'--config.data.scale=(1.0, 10.0)'" in words


def place(row, column, seed, rmse):
  return (row, column, seed), {'failed': False, 'test': {'rmse': rmse}}


def test_a_claim_is_a_signed_sum_of_cells_over_seeds():
  records = dict(
    place(row, 'x', seed, rmse + noise)
    for row, rmse in (('A', 1.0), ('B', 2.0))
    for seed, noise in enumerate((0.0, 0.1, 0.2))
  )
  terms = ((-1, 'A', None), (1, 'B', None))
  estimate, percent = claims._sum(terms, 'rmse', records)
  assert estimate.mean == pytest.approx(1.0)
  assert estimate.low == pytest.approx(1.0) == estimate.high
  assert percent == pytest.approx(100 / 2.1)
  assert claims._verdict([estimate]) == 'holds'
  reverse, _ = claims._sum(((1, 'A', None), (-1, 'B', None)), 'rmse', records)
  assert claims._verdict([estimate, reverse]) == 'reversed'
  assert claims._verdict([estimate], equal=True) == 'does not hold'
  assert claims._verdict([claims._sum(terms, 'rmse', {})[0]]) == 'not run'


def test_every_claim_asks_for_cells_that_its_table_has():
  from configs.papers import claims as of_papers

  tables = {}
  for path in ('darec', 'sharedvae'):
    for file in sorted((make.pathlib.Path('configs')).glob(f'{path}_*.py')):
      config = arguments.load(str(file))
      if 'methods' in config:
        tables[config.name] = config
  for claim in of_papers.CLAIMS:
    for name in claim.tables:
      config = tables.get(name, tables['darec_table2'])
      assert claim.measure in config.measures
      for _, row, column in sum(claim.sums, ()):
        assert row in config.rows
        assert column in (None, *config.columns)
        assert column or len(config.columns) == 1


def test_the_identity_does_not_care_how_a_number_is_written():
  config = specs.from_config(arguments.load('configs/bias.py:quick'))
  plain = json.loads(json.dumps(specs.plain(config)))
  assert cells.identity(config, {'penalty': 4}) == cells.identity(
    plain, {'penalty': 4.0}
  )


def test_a_run_that_diverged_leaves_the_others_and_is_said(filled, monkeypatch):
  config = small()
  config.methods.AutoRec.hyper.lr = 1e30
  config.rows = ('bias', 'AutoRec')
  fill(config, filled)
  text = (filled / 'out' / 'small_quick' / 'table.md').read_text()
  assert '| AutoRec | paper 0.5000 | - |' in text
  assert 'AutoRec (80 %) diverged on 2 of 2 seeds' in text
  monkeypatch.setattr(make, '_train', None)
  fill(config, filled)
  make.table(config, filled / 'none', filled / 'out', show.Show())
  assert (filled / 'out' / 'small_quick' / 'table.md').read_text() == text
  records = [
    {'row': 'bias', 'column': '80 %', 'seed': seed, 'failed': False}
    for seed in config.seeds
  ]
  assert layout._incomplete(config, records) == ''
  assert layout._incomplete(config, records[1:]) == (
    'Incomplete: bias (80 %) has 1 of 2 seeds.'
  )


@pytest.mark.parametrize(
  'names, kinds',
  [
    (['RMSE', 'MAE'], [['RMSE', 'MAE']]),
    (['HR@10', 'full HR@10'], [['HR@10', 'full HR@10']]),
    (
      ['HR@5', 'HR@10', 'full HR@5', 'full HR@10'],
      [['HR@10', 'full HR@10'], ['HR@5', 'HR@10'], ['full HR@5', 'full HR@10']],
    ),
    (['HR@5', 'full HR@5'], [['HR@5', 'full HR@5']]),
  ],
)
def test_tables_of_several_cut_offs_begin_with_10(names, kinds):
  columns = [typeset.Column(name) for name in names]
  cells = {('a', name): typeset.Cell((0.5, 0.6)) for name in names}
  shown = layout._kinds(typeset.Grid(['a'], columns, cells))
  assert [[column.name for column in each.columns] for each in shown] == kinds


def test_a_table_that_only_the_paper_has_shows_no_empty_one():
  columns = [typeset.Column(name) for name in ('HR@5', 'HR@10', 'full HR@10')]
  cells = {
    ('a', 'HR@5'): typeset.Cell(paper=0.5),
    ('a', 'HR@10'): typeset.Cell(paper=0.6),
    ('a', 'full HR@10'): typeset.Cell(),
  }
  shown = layout._kinds(typeset.Grid(['a'], columns, cells))
  names = [[column.name for column in each.columns] for each in shown]
  assert names == [['HR@10'], ['HR@5', 'HR@10']]


def test_a_table_of_runs_that_all_diverged_has_no_plot(tmp_path):
  config = small({'AutoRec': (autorec, 'item')})
  config.methods.AutoRec.hyper.lr = 1e30
  folder = fill(config, tmp_path)
  assert {path.name for path in folder.iterdir()} == {
    'table.md',
    'table.csv',
    'table.tex',
    'records.jsonl.xz',
  }


@pytest.mark.parametrize(
  'measures, drawn',
  [
    (('rmse', 'mae'), ['RMSE']),
    (('sampled hr@5', 'sampled hr@10', 'full hr@10'), ['HR@10']),
    (('full ndcg@5',), ['full NDCG@5']),
  ],
)
def test_a_plot_is_of_measures_of_one_scale(measures, drawn, monkeypatch):
  columns = [typeset.Column(layout.name_of(name), False) for name in measures]
  cell = typeset.Cell((0.5, 0.6))
  grid = typeset.Grid(['a'], columns, {('a', column.name): cell for column in columns})
  monkeypatch.setattr(figures, 'bars', lambda groups, **labels: list(groups))
  config = small({'AutoRec': (autorec, 'item')})
  with config.unlocked():
    config.measures = measures
  assert layout._figure(config, grid) == drawn

"""The folder of a table: its text, its plot, and that records alone decide it."""

import pathlib
import re

import pytest

from configs import bias, common
from experiments import arguments
from tests.helpers import ranking_record, rating_record
from xdomain.reporting import (
  figures,
  grids,
  plots,
  records,
  report,
  table_config,
  tables,
)


def table(measures=('rmse',), rows=('A',), columns=('x',), **settings):
  made = common.table(
    'own',
    common.parse_arg('tables', **common.TABLE_ARGUMENT),
    title='Own',
    rows=dict.fromkeys(rows, (bias,)),
    columns={column: {} for column in columns},
    measures=measures,
    data=common.data('tables') | dict(separator=';', scale=(1.0, 10.0)),
    **settings,
  )
  return made


@pytest.mark.parametrize(
  'name, config, data',
  [
    pytest.param(
      'darec_table2_douban_book_music',
      'configs/darec_table2.py:tables',
      dict(
        header=False,
        item='1',
        rating='2',
        user='0',
        source='book_ratings.tsv',
        target='music_ratings.tsv',
      ),
      marks=pytest.mark.matrix,
    ),
    ('sharedvae_table8', 'configs/sharedvae_table8.py', {}),
  ],
)
def test_a_kept_table_is_what_its_records_give(name, config, data, tmp_path):
  config, kept = arguments.load(config), pathlib.Path('results') / name
  config.name = name
  config.data.update(data)
  found = {(row, column): [] for row in config.rows for column in config.columns}
  for record in records.read(kept / 'records.jsonl.xz'):
    found[record.pop('row'), record.pop('column')].append(record)
  # An audit is of the data, which is not kept with the records.
  kept_text = (kept / 'table.md').read_text()
  notes = [line for line in kept_text.splitlines() if line.startswith('Audit: ')]
  report.write(table_config.from_config(config), found, notes, tmp_path, print)
  assert {path.name for path in tmp_path.iterdir()} >= {'plot.png', 'plot.svg'}
  for file in ('table.md', 'table.csv', 'table.tex'):
    assert (tmp_path / file).read_text() == (kept / file).read_text()
  of_file = [records.read(path / 'records.jsonl.xz') for path in (tmp_path, kept)]
  assert of_file[0] == of_file[1]


def command(config):
  return report._command(table_config.from_config(config))


def test_the_command_of_own_files_can_be_pasted():
  config = table()
  assert report._command(table_config.from_config(config)).endswith(
    'configs/own.py:tables'
  )
  config.name, config.seeds = 'mine', (0, 1)
  config.data.separator, config.data.user = ',', 'who'
  assert command(config).split(' \\\n  ')[1:] == [
    '--config.data.separator=,',
    '--config.data.user=who',
    '--config.name=mine',
    "'--config.seeds=(0, 1)'",
  ]


def cells(config, *made):
  return [record | {'row': 'A', 'column': 'x'} for record in made]


def test_missing_and_failed_seeds_are_counted():
  config = table_config.from_config(table(seeds=(0, 1, 2)))
  every = cells(config, *(rating_record(seed=s) for s in range(3)))
  assert report._incomplete(config, every) == ''
  assert report._incomplete(config, every[1:]) == 'Incomplete: A (x) has 2 of 3 seeds.'
  every[0]['failed'] = True
  assert 'diverged on 1 of 3 seeds and has no number' in (
    report._incomplete(config, every)
  )


def test_the_text_says_how_the_runs_were_made(tmp_path):
  made = [rating_record(seed=seed) for seed in range(3)]
  config = table_config.from_config(table(seeds=(0, 1, 2), note='A note.'))
  report.write(config, {('A', 'x'): made}, ['Not here: no file'], tmp_path, print)
  text = (tmp_path / 'table.md').read_text()
  assert text.startswith('# Own\n\nA note.\n\n| method | RMSE |')
  assert '3 runs with seeds 0, 1, 2; 0.0 hours of training on cpu with jax' in text
  assert '\n\nNot here: no file\n\n```\npython -m experiments.table' in text


def test_rows_that_a_table_leaves_out_are_named(tmp_path):
  config = table(rows=('A', 'B', 'C'), seeds=(0,), note='A note.')
  config.rows, config.note = ('A',), 'B and C take too long.'
  config = table_config.from_config(config)
  report.write(config, {('A', 'x'): [rating_record()]}, [], tmp_path, print)
  text = (tmp_path / 'table.md').read_text()
  assert '\n\nB and C take too long.\n\nLeft out: B, C.\n\n| method' in text
  assert "'--config.note=B and C take too long.'" in text


@pytest.mark.parametrize(
  'names, parts',
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
def test_tables_of_several_cut_offs_begin_with_10(names, parts):
  columns = [grids.Column(name, name) for name in names]
  filled = {('a', name): grids.Cell((0.5, 0.6)) for name in names}
  shown = report._parts(grids.Grid(['a'], columns, filled))
  assert [[column.name for column in each.columns] for each in shown] == parts


def test_a_table_with_numbers_of_the_paper_alone_has_no_empty_part():
  names = ['HR@5', 'HR@10', 'full HR@10']
  filled = {('a', name): grids.Cell(paper=0.5) for name in names[:2]}
  filled['a', 'full HR@10'] = grids.Cell()
  columns = [grids.Column(name, name) for name in names]
  shown = report._parts(grids.Grid(['a'], columns, filled))
  names = [[column.name for column in each.columns] for each in shown]
  assert names == [['HR@10'], ['HR@5', 'HR@10']]


@pytest.mark.parametrize(
  'measures, drawn',
  [
    (('rmse', 'mae'), ['RMSE']),
    (('sampled hr@5', 'sampled hr@10', 'full hr@10'), ['HR@10']),
    (('full ndcg@5',), ['full NDCG@5']),
  ],
)
def test_bars_show_measures_of_one_scale(measures, drawn, monkeypatch):
  columns = [grids.Column(records.title(name), name) for name in measures]
  cell = grids.Cell((0.5, 0.6), estimate=tables.Estimate(0.55))
  grid = grids.Grid(['a'], columns, {('a', column.name): cell for column in columns})
  monkeypatch.setattr(figures, 'bars', lambda groups, **labels: list(groups))
  assert plots.of_table(table_config.from_config(table(measures)), grid) == drawn


def test_methods_of_rankings_are_drawn_in_the_order_of_full_ndcg(monkeypatch):
  config = table_config.from_config(
    table(('sampled hr@10', 'sampled ndcg@10', 'full ndcg@10'), ('A', 'B'))
  )
  found = {(row, 'x'): [ranking_record(row, gain=0.1)] for row in 'AB'}
  drawn = {}
  monkeypatch.setattr(figures, 'ranked', lambda panels, reference: drawn.update(panels))
  plots.of_table(config, report.grid_of(config, found))
  assert [*drawn] == ['full NDCG@10', 'NDCG@10 among sampled items']
  assert all([*panel] == ['A', 'B'] for panel in drawn.values())


def test_curves_over_an_axis_have_a_panel_for_each_measure(monkeypatch):
  measures = ('sampled hr@10', 'full ndcg@10')
  config = table(measures, ('A', 'B'), ('1', '2'), x_label='beta')
  for column in config.columns:
    config.on[column].x = float(column)
  found = {
    (row, column): [ranking_record(row, gain=float(column) / 10)]
    for row in 'AB'
    for column in '12'
  }
  config = table_config.from_config(config)
  drawn = {}
  monkeypatch.setattr(figures, 'curves', lambda panels, x_label: drawn.update(panels))
  plots.of_table(config, report.grid_of(config, found))
  assert {title: [*lines] for title, lines in drawn.items()} == {
    'HR@10': ['A', 'B'],
    'full NDCG@10': ['A', 'B'],
  }
  assert [(point.x, point.mean) for point in drawn['HR@10']['A']] == [
    (1, 0.1),
    (2, 0.2),
  ]


def sweep(*xs, **fields):
  return {x: [rating_record(seed=s, rmse=1.0 + s) for s in range(3)] for x in xs}


def test_a_sweep_of_numbers_has_curves_and_one_of_words_has_bars():
  axes = plots.of_sweep(sweep((0.1,), (1.0,)), ['lr']).axes[0]
  assert (axes.get_xlabel(), axes.get_ylabel()) == ('lr', 'RMSE')
  assert [line.get_label() for line in axes.lines] == ['test', 'validation']
  axes = plots.of_sweep(sweep(('adam',), ('sgd',)), ['step']).axes[0]
  names = [re.sub(r'\s', ' ', t.get_text()) for t in axes.get_xticklabels()]
  assert names == ['test RMSE', 'validation RMSE']


def test_a_sweep_of_two_values_has_a_heat_map_of_validation():
  by_place = sweep((0.1, 8), (1.0, 8), (0.1, 16), (1.0, 16))
  by_place[1.0, 16][0]['failed'] = True
  figure = plots.of_sweep(by_place, ['lr', 'embed'])
  texts = [text.get_text() for text in figure.axes[0].texts]
  assert texts == ['2.00', '2.00', '2.00', 'failed']
  assert figure.axes[1].get_ylabel() == 'validation RMSE'
  with pytest.raises(ValueError, match='one or two swept values, not 3'):
    plots.of_sweep(by_place, ['lr', 'embed', 'beta'])

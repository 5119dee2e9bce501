import csv
import io

import pytest

from tests.helpers import ranking_record, rating_record
from xdomain.reporting import grids, tables


def by_user(record, sums, **measures):
  return record | {'by_user': {'n': [1] * len(sums), 'rmse': sums} | measures}


def found(few=False):
  """Two methods: A_1 is better for every user, on three seeds or on one."""
  seeds = range(1 if few else 3)
  return {
    ('A_1', 'x'): [
      by_user(rating_record('A_1', s, 1.0 + s), [1.0] * 50) for s in seeds
    ],
    ('B', 'x'): [by_user(rating_record('B', s, 3.0), [9.0] * 50) for s in seeds],
  }


PAPER = {'A_1': {'x': {'rmse': 0.9582}}}


def grid(few=False):
  return grids.of_records(['A_1', 'B'], ['x'], ['rmse', 'mae'], found(few), PAPER)


def test_the_best_is_the_lowest_error_and_the_highest_gain():
  (rmse, _) = grid().columns
  assert (rmse.name, grid().best(rmse)) == ('RMSE', 'A_1')
  places = {
    ('A', 'x'): [ranking_record(gain=0.5)],
    ('B', 'x'): [ranking_record(gain=0.6)],
  }
  ranked = grids.of_records(['A', 'B'], ['x'], ['full hr@10'], places)
  assert ranked.best(*ranked.columns) == 'B'


def test_an_empty_column_has_no_best():
  empty = grids.of_records(['A'], ['x'], ['rmse'], {('A', 'x'): []})
  assert empty.best(*empty.columns) is None
  assert grids.markdown(empty).splitlines()[-1] == '| A | - |'
  assert len(grids.as_csv(empty).splitlines()) == 1


def test_a_cell_of_a_failed_run_has_no_number():
  places = {('A', 'x'): [rating_record(), rating_record(seed=1) | {'failed': True}]}
  failed = grids.of_records(['A'], ['x'], ['rmse'], places)
  assert grids.markdown(failed).splitlines()[-1] == '| A | - |'


def test_several_heads_are_named_before_their_measure():
  places = {('A', head): [ranking_record()] for head in ('x', 'x full')}
  measures = ['sampled hr@10', 'full ndcg@10']
  both = grids.of_records(['A'], ['x', 'x full'], measures, places)
  names = [column.name for column in both.columns]
  assert names == ['x HR@10', 'x full NDCG@10', 'x full HR@10', 'x full full NDCG@10']
  with pytest.raises(ValueError, match=r"columns .* the name 'x full HR@10'"):
    grids.of_records(['A'], ['x', 'x full'], ['full hr@10', 'sampled hr@10'], places)


def test_a_cell_shows_mean_interval_deviation_and_the_paper():
  # sd 1, standard error 1 / sqrt 3, and 4.303 the t quantile of 2 degrees.
  a, b = grids.markdown(grid().only(['RMSE'])).splitlines()[2:]
  assert a == '| A_1 | **2.0000** (0.0000 to 4.4841)<br>paper 0.9582 |'
  assert b == '| B | 3.0000† ± 0.0000 (0.0000) |'


def test_a_cell_of_one_seed_shows_the_interval_over_users():
  a, b = grids.markdown(grid(few=True).only(['RMSE'])).splitlines()[2:]
  assert a.startswith('| A_1 | **1.0000** (0.9000 to 1.1000 over users)<br>')
  assert b == '| B | 3.0000† (2.9000 to 3.1000 over users) |'
  assert 'fewer than three seeds' in grids.legend(grid(few=True))
  assert 'fewer than three seeds' not in grids.legend(grid())


def test_only_a_difference_beyond_chance_is_marked():
  cell = grids.Cell((1.0,), estimate=tables.Estimate(1.0))
  assert cell._replace(p=0.049).differs
  assert not cell._replace(p=0.05).differs and not cell.differs


def test_csv_holds_a_line_a_cell():
  lines = list(csv.DictReader(io.StringIO(grids.as_csv(grid()))))
  assert [(line['method'], line['column']) for line in lines] == [
    ('A_1', 'RMSE'),
    ('B', 'RMSE'),
    ('A_1', 'MAE'),
    ('B', 'MAE'),
  ]
  first, second, *_ = lines
  assert float(first['mean']) == 2 and float(first['sd']) == 1
  assert float(first['high']) == pytest.approx(2 + 2.4841, abs=1e-4)
  assert (first['paper'], first['best'], first['seeds']) == ('0.9582', '1', '3')
  assert first['p_of_no_difference_to_best'] == ''
  assert float(second['p_of_no_difference_to_best']) < 0.001
  assert lines[3]['p_of_no_difference_to_best'] == ''  # No sums of 'mae' are kept.


def test_latex_escapes_names_and_gives_the_paper_a_row():
  text = grids.latex(grid(), 'RMSE & more', 'tab:x')
  assert r'\caption{RMSE \& more}' in text
  assert r'A\_1 & \textbf{2.0000} (0.0000 to 4.4841) & ' in text
  assert r'\quad paper & 0.9582 &  \\' in text
  assert r'3.0000$^\dagger$ $\pm$ 0.0000' in text
  assert text.count(r'\\') == 4


@pytest.mark.parametrize('few', [True, False])
def test_every_mark_compares_with_the_best_of_its_column(few):
  rmse, _ = grid(few).columns
  assert grid(few).cells['A_1', 'RMSE'].p is None
  assert grid(few).cells['B', rmse.name].differs

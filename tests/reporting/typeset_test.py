import csv
import io

import pytest

from xdomain.reporting import typeset

ERROR = typeset.Column('90 % RMSE', lower_is_better=True)
GAIN = typeset.Column('HR@10')
GRID = typeset.Grid(
  ['A_1', 'B'],
  [ERROR, GAIN],
  {
    ('A_1', ERROR.name): typeset.Cell((1.0, 2.0, 3.0), 0.9582),
    ('B', ERROR.name): typeset.Cell((3.0, 3.0, 3.0), None, 0.01),
    ('A_1', GAIN.name): typeset.Cell((0.5,), None, 0.2),
    ('B', GAIN.name): typeset.Cell((0.6,)),
  },
)


def test_the_best_is_the_lowest_error_and_the_highest_gain():
  assert (GRID.best(ERROR), GRID.best(GAIN)) == ('A_1', 'B')


def test_an_empty_column_has_no_best():
  grid = typeset.Grid(['A'], [GAIN], {('A', GAIN.name): typeset.Cell()})
  assert grid.best(GAIN) is None
  assert typeset.markdown(grid).splitlines()[-1] == '| A | - |'


def test_a_cell_shows_mean_interval_deviation_and_the_paper():
  # sd 1, standard error 1 / sqrt 3, and 4.303 the t quantile of 2 degrees.
  a, b = typeset.markdown(GRID).splitlines()[2:]
  assert a == '| A_1 | **2.0000** ± 2.4841 (1.0000)<br>paper 0.9582 | 0.5000 |'
  assert b == '| B | 3.0000† ± 0.0000 (0.0000) | **0.6000** |'


def test_only_what_differs_beyond_chance_is_marked():
  assert typeset.is_marked(typeset.Cell((1.0,), p=0.049))
  assert not typeset.is_marked(typeset.Cell((1.0,), p=0.05))
  assert not typeset.is_marked(typeset.Cell((1.0,)))


def test_csv_holds_a_line_a_cell():
  lines = list(csv.DictReader(io.StringIO(typeset.as_csv(GRID))))
  assert len(lines) == 4
  first = lines[0]
  assert (first['method'], first['column']) == ('A_1', ERROR.name)
  assert float(first['mean']) == 2 and float(first['sd']) == 1
  assert float(first['high']) == pytest.approx(2 + 2.4841, abs=1e-4)
  assert (first['paper'], first['best'], first['seeds']) == ('0.9582', '1', '3')
  assert lines[1]['p_of_no_difference_to_best'] == '0.01'


def test_latex_escapes_names_and_gives_the_paper_a_row():
  text = typeset.latex(GRID, 'RMSE & more', 'tab:x')
  assert r'\caption{RMSE \& more}' in text
  assert r'90 \% RMSE' in text
  assert r'A\_1 & \textbf{2.0000} $\pm$ 2.4841 & 0.5000 \\' in text
  assert r'\quad paper & 0.9582 &  \\' in text
  assert r'3.0000$^\dagger$ $\pm$ 0.0000' in text
  assert text.count(r'\\') == 4


def test_latex_of_rows_of_text():
  text = typeset.rows([{'data': 'a_b', 'empty': '5 %'}], 'Sizes', 'tab:s')
  assert r'a\_b & 5 \% \\' in text

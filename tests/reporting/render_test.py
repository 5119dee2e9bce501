import pytest

from xdomain.reporting import render

ROWS = [{'data': 'a_b', 'empty': '5 %'}, {'data': 'c', 'empty': None}]


def test_markdown_has_a_line_a_row():
  table = render.markdown([{'x': '1', 'y': '2'}, {'x': '3', 'y': '4'}])
  assert table == '| x | y |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |'


def test_csv_has_a_header_and_empty_fields():
  assert render.as_csv(ROWS) == 'data,empty\na_b,5 %\nc,\n'
  assert render.as_csv([], ['x', 'y']) == 'x,y\n'


def test_latex_escapes_names_and_leaves_cells():
  cells = [{'a_b': render.escaped('5 %'), 'y': r'\textbf{1}'}]
  text = render.latex(cells, 'R & D', 'tab:x')
  assert r'\caption{R \& D}' in text and r'\begin{tabular}{lr}' in text
  assert r'a\_b & y \\' in text and r'5 \% & \textbf{1} \\' in text


def test_rows_with_other_columns_are_refused():
  rows = [{'RMSE': '1'}, {'NDCG@10': '0.5', 'HR@10': '0.7'}]
  for write in (render.markdown, render.as_csv):
    with pytest.raises(ValueError, match=r'row 2 .* NDCG@10, HR@10, not RMSE'):
      write(rows)

import json
import pathlib
import time

import numpy as np
import pytest

from benchmarks import baselines
from tests import helpers
from xdomain.runs import methods as runs_methods
from xdomain.runs import prepare
from xdomain.runs import spec as specs

ROOT = pathlib.Path(__file__).parent.parent.parent


def cells(line):
  return [cell.strip() for cell in line.strip('|').split('|')]


def number(text):
  return float(text.replace(',', ''))


@pytest.mark.parametrize('text', baselines.RATERS + baselines.RANKERS)
def test_a_method_of_the_table_has_a_config_and_a_quick_form(text):
  for quick in (False, True):
    config = baselines.load(text, quick)
    method = runs_methods.of(specs.from_config(config), helpers.small().sizes)
    assert method.model.stages
  assert config.data.kind.startswith('synthetic')


def test_every_stage_of_a_method_has_a_row_with_its_own_counts():
  methods = 'configs/bias.py', 'configs/darec.py:item'
  header, _, *rows = map(cells, baselines.table(methods, True, 1))
  assert tuple(header) == baselines.HEADER
  assert [row[:2] for row in rows] == [
    ['bias', 'fit'],
    ['darec:item', 'autorec source'],
    ['darec:item', 'autorec target'],
    ['darec:item', 'darec'],
  ]
  first = specs.from_config(baselines.load(methods[0], True))
  prepared = prepare.prepare(first, say=lambda line: 0)
  domains = prepared.data.source, prepared.data.target
  source, target = (domain.by_user.n_entries for domain in domains)
  ratings = [number(row[2]) for row in rows]
  np.testing.assert_allclose(ratings[:3], [target, source, target], rtol=1e-5)
  assert target < ratings[3] < 2 * (source + target)
  sizes = prepared.sizes
  assert number(rows[0][5]) == 1 + sizes.users + sizes.target
  assert all(number(cell) >= 0 for row in rows for cell in row[2:])


def test_a_line_divides_ratings_by_seconds():
  timed = baselines.Timed('ours', 'fit', 1000.0, 0.25, 7, 1.5)
  expected = '| ours | fit | 1,000 | 0.250 | 4,000 | 7 | 1.5 |'
  assert baselines.line_of(timed) == expected


def test_a_sweep_of_a_library_is_timed_without_its_set_up():
  library = baselines.Library('slow', 'nap', lambda n: time.sleep(0.2 + 0.01 * n), 7)
  timed = baselines.sweeps(library, 1000.0, 2)
  assert 0.005 < timed.seconds < 0.02
  assert baselines.line_of(timed).startswith('| slow | nap | 1,000 | 0.01')


def test_a_library_that_is_not_installed_is_named(monkeypatch):
  def absent(data, config):
    raise ModuleNotFoundError(name='nolib')

  monkeypatch.setitem(baselines.LIBRARIES, 'configs/bias.py', (absent,))
  *_, last = baselines.table(['configs/bias.py'], True, 1)
  assert last.strip() == 'Not installed, so not timed: nolib.'


def test_libraries_are_given_the_training_ratings():
  small = helpers.small()
  ratings = small.split.train.target
  dense = np.zeros((ratings.n_users, ratings.n_items))
  dense[ratings.user, ratings.item] = ratings.value
  theirs = baselines.sparse(small.data.target.by_user)
  np.testing.assert_array_equal(theirs.toarray(), dense)


@pytest.mark.parametrize(
  ('text', 'package'),
  [
    ('configs/pmf.py', 'surprise'),
    ('configs/biased_mf.py', 'surprise'),
    ('configs/cmf.py', 'cmfrec'),
    ('configs/fm_cdcf.py', 'myfm'),
    ('configs/ials.py', 'implicit'),
  ],
)
def test_a_library_stands_under_its_method_with_as_many_parameters(text, package):
  pytest.importorskip(package)
  _, _, method, library = map(cells, baselines.table([text], True, 1))
  assert package in library[0].lower()
  assert library[2] == method[2]
  assert number(library[4]) > 0
  assert library[5] == method[5]  # parameters


def test_recbole_is_timed_where_it_is_on_the_same_ratings(tmp_path):
  python = tmp_path / 'python'
  python.write_text(f"""#!/bin/sh
cat > {tmp_path}/asked
cp pairs/pairs.inter {tmp_path}
echo a warning
echo '{{"seconds": 0.5, "parameters": 9}}'
""")
  python.chmod(0o755)
  text = 'configs/mlp.py'
  _, _, method, peer = map(cells, baselines.table([text], True, 1, str(python)))
  assert peer[:2] == ['RecBole NeuMF', 'Adam']
  assert peer[2:] == [
    method[2],
    '0.500',
    f'{number(method[2]) * 2:,.0f}',
    '9',
    '',
  ]
  header, *pairs = (tmp_path / 'pairs.inter').read_text().splitlines()
  assert header == 'user_id:token\titem_id:token'
  assert len(set(pairs)) == number(method[2])
  asked = json.loads((tmp_path / 'asked').read_text())['config']
  model = baselines.load(text, True).model
  assert asked['mlp_hidden_size'] == list(model.layers)
  assert asked['train_neg_sample_args']['sample_num'] == model.negatives


def test_a_python_without_recbole_is_named():
  with pytest.raises(ValueError, match='did not run with --recbole=/no/python'):
    list(baselines.table(['configs/bpr.py'], True, 1, '/no/python'))

"""The README's main run, whole, on the real data."""

import pytest

from experiments import arguments
from xdomain.runs import prepare, run
from xdomain.runs import spec as specs


@pytest.mark.slow
@pytest.mark.parametrize('axis', ['item', 'user'])
def test_the_default_run_beats_the_bias_floor_and_lands_in_its_band(axis, tmp_path):
  config = arguments.load(f'configs/darec.py:{axis}')
  prepared = prepare.prepare(specs.from_config(config), say=lambda line: None)
  counts = dict(prepared.dataset.trail)
  assert list(counts.values())[-1]['users'] == 4106
  rmse = {}
  for each in map(specs.from_config, (*config.beside.values(), config)):
    (record,) = run.run(each, prepared, tmp_path / each.name, watch=lambda report: None)
    rmse[each.method] = record['test']['rmse']
  assert 0.89 < rmse['bias'] < 0.92
  assert rmse['autorec'] < {'item': 0.87, 'user': 0.90}[axis]
  assert rmse['darec'] < rmse['bias']

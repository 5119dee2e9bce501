"""Counters of energy are read before and after; the peak is that of the run."""

import numpy as np

from xdomain.runs import cost


def write(folder, joules, most=1000):
  folder.mkdir(exist_ok=True)
  (folder / 'energy_uj').write_text(f'{int(joules * 1e6)}\n')
  (folder / 'max_energy_range_uj').write_text(f'{int(most * 1e6)}\n')


def test_the_energy_of_all_packages_is_added_and_a_counter_may_start_again(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(cost, 'RAPL', tmp_path)
  one, other = tmp_path / 'intel-rapl:0', tmp_path / 'intel-rapl:1'
  write(one, 100)
  write(other, 990)
  write(tmp_path / 'intel-rapl:0:0', 5)  # A part of the first.
  spent = {}
  with cost.measured(spent):
    write(one, 130)
    write(other, 20)
    write(tmp_path / 'intel-rapl:0:0', 25)
  assert spent['energy'] == 60


def test_without_a_counter_energy_is_not_known(tmp_path, monkeypatch):
  monkeypatch.setattr(cost, 'RAPL', tmp_path / 'none')
  spent = {}
  with cost.measured(spent):
    pass
  assert spent['energy'] is None


def test_the_peak_grows_by_what_was_held():
  before, after = {}, {}
  with cost.measured(before):
    pass
  with cost.measured(after):
    held = np.ones(10_000_000)
  assert after['peak_memory'] - before['peak_memory'] > 0.9 * held.nbytes
  again = {}
  del held
  with cost.measured(again):
    pass
  assert again['peak_memory'] < after['peak_memory']

"""The benchmark of growth: its clock and its pairs."""

import time

import numpy as np

from benchmarks import scale


def busy(seconds):
  end = time.process_time() + seconds
  while time.process_time() < end:
    pass


def test_a_phase_within_another_counts_once():
  clock = scale.Clock()
  inner = clock.timed('intervals', lambda: busy(0.02))

  def outer():
    busy(0.03)
    inner()

  clock.timed('measures', outer)()
  clock.enter('the rest')
  assert 0.02 <= clock.seconds['intervals'] < 0.03 <= clock.seconds['measures'] < 0.05


def test_phases_name_functions_that_there_are_and_leave_them_as_they_were():
  from xdomain.evaluation import rankings

  before = rankings.ranking_measures
  with scale.clocked():
    assert rankings.ranking_measures is not before
  assert rankings.ranking_measures is before


def test_interactions_are_distinct_and_every_user_has_some():
  user, item, value = scale.interactions(0, 50, 30, 400)
  assert len(set(zip(user.tolist(), item.tolist()))) == 400
  assert np.unique(user).size == 50
  assert item.max() < 30 and set(value) <= {2, 3, 4, 5}


def test_a_tiny_profile_has_all_of_its_time():
  found = scale.profile('item_pop', 60, (30, 40))
  assert set(found['seconds']) == set(scale.NAMES)
  assert found['seconds']['read'] > 0 and found['seconds']['train'] > 0


def test_growth_is_written_with_its_plot_after_each_case(tmp_path, monkeypatch):
  cells = []

  def once(part, method, size, limit):
    cells.append((part, method, size, limit))
    if method == 'ease' and size > 1:
      return None
    seconds = dict(split=1.0, epoch=2 * size, rank=3.0, list=4.0)
    return seconds | dict(users=9, items=7, mib=100.0)

  monkeypatch.setattr(scale, '_once', once)
  out = tmp_path / 'growth'
  lines = list(scale.growth(['bpr', 'ease'], [0.5, 2.0, 4.0], 60, str(out)))
  assert [case[1:3] for case in cells] == [
    *(('bpr', size) for size in (0.5, 2.0, 4.0)),
    *(('ease', size) for size in (0.5, 2.0)),  # None after one that takes too long
  ]
  assert lines[-1] == '| ease |  | 2 |  |  | over 60 s |  |  |  |  |'
  text = out.with_suffix('.md').read_text()
  assert all(line in text for line in lines) and 'growth.svg' in text
  assert 'ease' in out.with_suffix('.svg').read_text()
  assert out.with_suffix('.png').stat().st_size > 1000

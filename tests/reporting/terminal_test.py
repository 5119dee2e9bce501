import time

import numpy as np

from xdomain.reporting import terminal
from xdomain.training import loop


def test_a_long_step_prints_that_it_still_runs_and_ever_more_seldom(capsys):
  display = terminal.Terminal()
  with display.pulse(0.1):
    display.step('item_knn: training')
    time.sleep(0.6)
    display.say('done')
  lines = capsys.readouterr().out.splitlines()
  assert lines[-1] == 'done'
  assert 1 <= len(lines) - 1 <= 3
  assert all(
    line.startswith('item_knn: training: still running after') for line in lines[:-1]
  )


def test_a_step_that_ends_soon_prints_nothing(capsys):
  display = terminal.Terminal()
  with display.pulse(60):
    display.say('done')
  assert capsys.readouterr().out == 'done\n'


def test_a_stage_that_chooses_shows_its_best_choice(capsys):
  def report(epoch, share, value, best, at):
    metrics = {'autorec': np.float32([0.2, share]), 'bias': np.float32([0.0, 0.4])}
    value, best, at = (np.array([9, each]) for each in (value, best, at))
    return loop.Report('blend', epoch, 3, metrics, value, best, at, 1.0)

  with terminal.Terminal().training('fm', float) as training:
    training(report(1, 0.8, 0.95, 0.95, 1))
    training(report(2, 0.6, 0.85, 0.85, 2))
    training(report(3, 0.4, 0.90, 0.85, 2))
  (line,) = capsys.readouterr().out.splitlines()
  assert line == (
    'fm: blend 3/3  valid 0.9000  best 0.8500 at 2: autorec 0.6, bias 0.4'
  )

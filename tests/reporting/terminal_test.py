import time

from xdomain.reporting import terminal


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

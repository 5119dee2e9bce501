"""The first process prepares the data, and the others read their shares of it."""

import subprocess
import sys


def test_the_others_read_their_share_and_hold_nothing_else():
  command = [sys.executable, '-m', 'benchmarks.hosts', '--millions=0.3']
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  names, _, *rows = (
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in done.stdout.splitlines()
  )
  each, _, alone, other = (dict(zip(names, row)) for row in rows)
  assert (alone['process'], other['process']) == ('0', '1')

  def took(row):
    return int(row['at most']) - int(row['anonymous MiB before'])

  assert took(other) < took(each) / 2
  assert 0 < int(other['read of them']) < int(other['shared MiB']) / 2
  for row in (alone, other):
    counts = row['interactions on its devices'].replace(',', '').split(' of ')
    there, everything = map(int, counts)
    assert 0 <= 2 * there - everything <= 2  # Each domain is padded.

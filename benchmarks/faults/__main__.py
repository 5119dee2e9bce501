r"""Kills commands, fills disks and damages files: nothing may be lost or unexplained.

python -m benchmarks.faults
python -m benchmarks.faults --parts=inputs --inputs=500 --seed=7 --out=''
mount -t tmpfs -o size=64m tmpfs /mnt/small && \
  python -m benchmarks.faults --parts=rooms --disk=/mnt/small

Parts:

  inputs   damaged files for every reader (`inputs.py`)
  kills    runs, sweeps, searches, tables and artefacts that are killed at random
           moments and must end bit for bit as those that were not (`kills.py`)
  rooms    the same commands on full disks, and in folders that are read-only
  damage   the same commands, and `recommend`, after a file of theirs was damaged

Each new failure is printed with what makes it. `--out` keeps the counts; parts that
did not run keep theirs.
"""

import argparse
import collections
import pathlib
import random
import re
import tempfile
import time

from benchmarks.faults import inputs, kills
from xdomain import files

# `inputs` is last: it starts threads, and the others fork this process.
PARTS = ('kills', 'rooms', 'damage', 'inputs')
_ABOUT = {
  'kills': 'Commands killed {kills:,} times at random moments (SIGKILL, SIGTERM, SIGHUP'
  ' and SIGINT) in {n:,} trials of one to four kills each, then run to the end.'
  ' *Same*: every record, prediction, search and artefact is that of the unbroken'
  ' command, bit for bit.',
  'rooms': 'Commands with too little room, or without the right to write, then again'
  ' with both: {n:,} trials. *Same*: what did not fit ended with one line of error,'
  ' and the second command as the unbroken one.',
  'damage': 'Commands after a file of theirs was truncated, emptied, swapped for'
  ' another or deleted, or a bit of it flipped: {n:,} trials. *Refused*: by one line.'
  ' *Altered*: plain text without a checksum, such as a digit in a record.',
}


def main():
  parser = argparse.ArgumentParser(description='Kills, full disks, damage.')
  parser.add_argument('--parts', default=','.join(PARTS), help='some of them')
  parser.add_argument('--inputs', type=int, default=10_000, help='damaged inputs')
  parser.add_argument('--kills', type=int, default=100, help='kills, at least')
  parser.add_argument('--rooms', type=int, default=40, help='trials without room')
  parser.add_argument('--damage', type=int, default=100, help='damaged files')
  parser.add_argument(
    '--disk',
    type=pathlib.Path,
    help='a folder on a file system of up to 1 GB, such as a tmpfs, that may be filled',
  )
  parser.add_argument('--seed', type=int, default=0, help='of all that is random')
  parser.add_argument(
    '--minutes', type=float, default=1e9, help='after which a part begins no trial'
  )
  parser.add_argument(
    '--out',
    default='results/benchmarks/faults.md',
    help="file that the counts are written to; '' for none",
  )
  given = parser.parse_args()
  failed = False
  with tempfile.TemporaryDirectory() as folder:
    campaign = None
    for part in given.parts.split(','):
      if part == 'inputs':
        section, wrong = _inputs(given)
      else:
        campaign = campaign or kills.Campaign(pathlib.Path(folder), given.disk)
        section, wrong = _trials(part, campaign, given)
      failed |= wrong
      print(f'## {part}\n\n{section}\n', flush=True)
      _keep(given.out, part, section)
  raise SystemExit(int(failed))


def _inputs(given):
  started = time.monotonic()
  verdicts = inputs.campaign(given.seed, given.inputs)
  section = inputs.report(verdicts, given.seed, time.monotonic() - started)
  inputs.show_failures(verdicts, given.seed)
  return section, any(verdict.word == 'WRONG' for verdict in verdicts.values())


def _trials(part, campaign, given):
  """Runs the trials of a part; its section, and whether any of them is wrong."""
  began, trials, seen = time.monotonic(), [], set()
  while _done(part, trials) < getattr(given, part):
    if time.monotonic() - began > 60 * given.minutes:
      break
    draw = random.Random(f'{part}-{given.seed}-{len(trials)}')
    trial = _trial(part, campaign, draw)
    what = trial.about, re.sub(r'[\d.]+', '', trial.why)[:80]
    if trial.verdict == kills.WRONG and what not in seen:
      seen.add(what)
      print(f'{part} {len(trials)} ({trial.about}): {trial.why}', flush=True)
    trials.append(trial)
    if len(trials) % 10 == 0:  # So that a campaign may be interrupted.
      seconds = time.monotonic() - began
      _keep(given.out, part, _section(part, trials, given.seed, seconds))
  section = _section(part, trials, given.seed, time.monotonic() - began)
  return section, any(trial.verdict == kills.WRONG for trial in trials)


def _done(part, trials):
  return sum(trial.kills for trial in trials) if part == 'kills' else len(trials)


def _section(part, trials, seed, seconds):
  """Counts by command and verdict, as Markdown."""
  counts = collections.defaultdict(collections.Counter)
  for trial in trials:
    counts[trial.about][trial.verdict] += 1
  total = sum(counts.values(), collections.Counter())
  columns = [kills.SAME, kills.REFUSED, kills.ALTERED, kills.WRONG]
  columns = [name for name in columns if total[name] or name == kills.WRONG]
  lines = [
    _ABOUT[part].format(kills=sum(trial.kills for trial in trials), n=len(trials))
    + f' Seed {seed}, {seconds:.0f} s.',
    '',
    f'| command | {" | ".join(columns)} |',
    '| --- |' + ' ---: |' * len(columns),
  ]
  for about, of_group in [*sorted(counts.items()), ('all', total)]:
    lines.append(f'| {about} | {" | ".join(f"{of_group[c]:,}" for c in columns)} |')
  return '\n'.join(lines)


def _trial(part, campaign, draw):
  if part == 'kills':
    return campaign.kill(draw)
  if part == 'damage':
    return campaign.damage(draw)
  return campaign.fill(draw) if draw.random() < 0.6 else campaign.lock_away(draw)


def _keep(out, part, section):
  """Replaces the section of a part in the file of the counts, if there is one."""
  if not out:
    return
  path = pathlib.Path(out)
  text = path.read_text('utf-8') if path.exists() else ''
  sections = dict(re.findall(r'^## (\w+)\n\n(.*?)\n*(?=^## |\Z)', text, re.M | re.S))
  sections[part] = section
  title = '# Faults\n\nBy `python -m benchmarks.faults`.\n'
  parts = [f'\n## {name}\n\n{sections[name]}\n' for name in PARTS if name in sections]
  files.write(path, title + ''.join(parts))


if __name__ == '__main__':
  main()

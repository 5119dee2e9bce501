r"""Audits a pair and a split of it: leaks, twins, duplicates, times, popularity.

python -m experiments.audit --config=shared_vae
python -m experiments.audit --source=films.csv --target=books.csv --data=rating=stars
python -m experiments.audit --config=shared_vae:cold --seed=3 --out=audit.json

The split is that of a config, of a run, or of two files and `--protocol`. The exit
status is 3 where a finding speaks against claims made on the data, else 0.
"""

import json
import pathlib
import sys

from absl import app, flags

from experiments import arguments, program, split_flags

OUT = flags.DEFINE_string('out', None, 'A .md or .json file for the audit.')
FAULT = 3  # the exit status


def main(argv: list[str]) -> None:
  del argv
  with program.running():
    from xdomain.reporting import terminal

    with terminal.opened() as display:
      found = _audit(display)
  sys.exit(FAULT if found.faults else 0)


def _audit(display):
  from xdomain import files
  from xdomain.data import audit
  from xdomain.reporting import audits
  from xdomain.runs import prepare
  from xdomain.runs import spec as specs

  if OUT.value and pathlib.Path(OUT.value).suffix not in ('.md', '.json'):
    raise specs.SpecError(f'--out={OUT.value}: it can be written as .md or .json')
  dataset, split = prepare.split_of(split_flags.spec(), display.say)
  display.data(dataset)
  found = audit.audit(dataset, split)
  display.table(audits.rows(found))
  for source, target, alike in found.twins:
    display.say(f'twins: {source} and {target}, Jaccard {alike:.3f}')
  for of, counts in found.buckets.items():
    display.say(f'{of}: {", ".join(f"{k}: {n:,}" for k, n in counts.items() if n)}')
  display.say(f'{len(found.faults)} faults')
  if OUT.value:
    is_json = OUT.value.endswith('.json')
    text = json.dumps(found.as_json(), indent=2) if is_json else audits.markdown(found)
    files.write(OUT.value, text)
    display.say(f'written to {OUT.value}')
  return found


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse_plain)

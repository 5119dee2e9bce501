r"""Prints what the papers claim beside what the tables in results/ show.

python -m experiments.claims

Writes `results/claims.md` from kept records; `experiments.table` trains runs.
"""

import pathlib

from absl import app, flags

from experiments import program

RESULTS = flags.DEFINE_string('results', 'results', 'The folder of the tables.')

INTRODUCTION = """# What reproduces and what does not

Each claim is a difference that should be positive: the loser's RMSE minus the
winner's; or the winner's HR@10 or NDCG@10 minus the loser's, among sampled
negatives as in the papers, then in the full catalogue. The column "ours" has its
mean over seeds on the same splits, its 95 % t-interval, and its percentage of the
loser's value. A claim holds if all of its intervals are positive, is reversed if
one is negative, and otherwise is within chance; a claim of equality holds if all
intervals include 0. The claims of DARec are about Amazon pairs that no package
index ships; here they are decided on the MovieLens pair and on two pairs that were
read as own files. Splits are random, and by time in the tables whose name ends in
`_time`: these have one split, so that their intervals hold the randomness of training
alone.

```
python -m experiments.claims
```
"""


def main(argv: list[str]) -> None:
  del argv
  with program.running():
    _write(pathlib.Path(RESULTS.value))


def _write(folder):
  from configs.papers import claims as of_papers
  from xdomain import files
  from xdomain.reporting import claims, records, render

  if not folder.is_dir():
    raise records.RecordError(f'there is no folder {folder}')
  by_table, rows = {}, []
  for claim in of_papers.CLAIMS:
    for table in claim.tables:
      if table not in by_table:
        kept = records.read_table(folder / table / 'records.jsonl.xz')
        by_table[table] = claims.by_place(kept)
      if by_table[table] or len(claim.tables) == 1:
        rows.append(claims.row(claim, table, by_table[table]))
  text = f'{INTRODUCTION}\n{render.markdown(rows)}\n'
  files.write(folder / 'claims.md', text)
  print(text)


if __name__ == '__main__':
  app.run(main)

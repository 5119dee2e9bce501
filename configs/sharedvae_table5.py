r"""Table 5 of SharedVAE: HR and NDCG by the share of a user's target positives.

python -m experiments.table --config=configs/sharedvae_table5.py
python -m experiments.table --config=configs/sharedvae_table5.py:amazon

On MovieLens by default. A quarter of an hour on two CPU cores. The paper's numbers are
for Amazon.
"""

from configs import common, shared_vae

PERCENT = (100, 75, 50, 25, 0)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  paper = {}
  if arg.data == 'amazon':
    printed = {f'{percent} %': str(percent) for percent in PERCENT}
    paper = common.ranked_in_paper('table5', printed, 'SharedVAE')
  config = common.table(
    'sharedvae_table5',
    arg,
    title='SharedVAE, Table 5: HR and NDCG by the share of target positives',
    note='A tenth of the users are test users, which are not trained on. A share of'
    ' their target positives, the held-out one excepted, is input to the ranking.',
    rows={f'{percent} %': (shared_vae, 'partial') for percent in PERCENT},
    columns={'SharedVAE': {}},
    measures=common.RANKING,
    paper=paper,
    data=common.implicit_block(arg),
  )
  for percent in PERCENT:
    config.methods[f'{percent} %'].split.shown = percent / 100
  return config

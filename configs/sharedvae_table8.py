r"""Table 8 of SharedVAE: what auxiliary user vectors are worth.

python -m experiments.table --config=configs/sharedvae_table8.py
python -m experiments.table --config=configs/sharedvae_table8.py:amazon

On MovieLens by default, whose vectors are the users' gender, age and
occupation; the paper's numbers are of Amazon and vectors of reviews. Ten
minutes on two CPU cores.
"""

from configs import common, shared_vae

ROWS = {'No': (shared_vae, 'shared'), 'Yes': (shared_vae, 'aux')}


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  paper = {}
  if arg.data == 'amazon':
    printed = {row: row for row in ROWS}
    paper = common.ranked_in_paper('table8', printed, 'SharedVAE')
  return common.table(
    'sharedvae_table8',
    arg,
    title='SharedVAE, Table 8: with auxiliary user vectors or without',
    rows=ROWS,
    columns={'SharedVAE': {}},
    measures=common.RANKING,
    paper=paper,
    data=common.implicit_block(arg),
  )

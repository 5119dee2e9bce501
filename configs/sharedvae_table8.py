r"""Table 8 of SharedVAE: HR and NDCG with and without side vectors.

python -m experiments.table --config=configs/sharedvae_table8.py
python -m experiments.table --config=configs/sharedvae_table8.py:amazon

On MovieLens by default, whose vectors are gender, age and occupation. Ten minutes on
two CPU cores. The paper's numbers are for Amazon, with vectors of review texts.
"""

from configs import common, shared_vae

ROWS = {'No': (shared_vae, 'shared'), 'Yes': (shared_vae, 'aux')}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  paper = {}
  if arg.data == 'amazon':
    printed = {row: row for row in ROWS}
    paper = common.ranked_in_paper('table8', printed, 'SharedVAE')
  return common.table(
    'sharedvae_table8',
    arg,
    title='SharedVAE, Table 8: with and without side vectors of users',
    rows=ROWS,
    columns={'SharedVAE': {}},
    measures=common.RANKING,
    paper=paper,
    data=common.implicit_block(arg),
  )

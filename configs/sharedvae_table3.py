r"""Table 3 of SharedVAE: HR and NDCG beside all methods, Amazon.

python -m experiments.table --config=configs/sharedvae_table3.py

Needs the review files of Movies and TV and of Books; without them the table holds the
paper's numbers alone. Table 4 is its MovieLens form.
"""

from configs import common, sharedvae_table4


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.AMAZON_TABLE_ARGUMENT)
  return sharedvae_table4.table('sharedvae_table3', arg, default='amazon')

r"""Table 6 of SharedVAE: cold-start users, Amazon.

python -m experiments.table --config=configs/sharedvae_table6.py

Needs the review files of Movies and TV and of Books; without them the table holds the
paper's numbers alone. Table 7 is its MovieLens form.
"""

from configs import common, sharedvae_table7


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.AMAZON_TABLE_ARGUMENT)
  return sharedvae_table7.table('sharedvae_table6', arg, default='amazon')

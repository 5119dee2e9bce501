r"""Table 6 of SharedVAE: people who are new to the target, Amazon.

python -m experiments.table --config=configs/sharedvae_table6.py

Needs the review files of Movies and TV, and of Books; without them the table is
empty beside the paper's numbers. Its MovieLens form is Table 7.
"""

from configs import common, sharedvae_table7


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.AMAZON_TABLE_ARGUMENT)
  return sharedvae_table7.table('sharedvae_table6', arg, default='amazon')

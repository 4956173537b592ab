"""The command line, `ssem`: one file for each topic."""

from ssem_jax.cli.console import app as app
from ssem_jax.cli.entry import main as main

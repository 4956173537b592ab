"""`python -m ssem_jax.cli`: the same as `ssem`."""

from ssem_jax.cli.entry import main

if __name__ == "__main__":
    main()

"""``python -m xnorflow``: the command line."""

from xnorflow.cli import main


if __name__ == "__main__":
    main()

"""`python -m andon`: the same as the command `andon`."""

from andon.cli.main import main

if __name__ == "__main__":
    main()

"""What ``python -m sksemantic`` runs."""

from sksemantic._cli.app import main

if __name__ == "__main__":
    main()

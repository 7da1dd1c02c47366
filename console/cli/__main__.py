"""``python -m console.cli``: the command line, where the script is not installed."""

from console.cli import main

main()

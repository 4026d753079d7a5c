"""``python -m trucban``: the same as the command ``trucban``."""

from trucban.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

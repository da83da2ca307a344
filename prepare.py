"""Load bars and store images: `python prepare.py -m window=15m,30m,60m`."""

from pathlib import Path

from gafcnn.app.command import main

if __name__ == "__main__":
    main("prepare", Path(__file__).with_name("conf"))

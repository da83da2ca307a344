"""Decide on the newest bar: `python predict.py study=bnb`."""

from pathlib import Path

from gafcnn.app.command import main

if __name__ == "__main__":
    main("predict", Path(__file__).with_name("conf"))

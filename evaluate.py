"""Evaluate a study on its test rows: `python evaluate.py study=bnb`."""

from pathlib import Path

from gafcnn.app.command import main

if __name__ == "__main__":
    main("evaluate", Path(__file__).with_name("conf"))

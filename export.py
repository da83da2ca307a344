"""Export the models of a study: `python export.py study=bnb`."""

from pathlib import Path

from gafcnn.app.command import main

if __name__ == "__main__":
    main("export", Path(__file__).with_name("conf"))

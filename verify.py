"""Check the files on disk for damage: `python verify.py`."""

from pathlib import Path

from gafcnn.app.command import main

if __name__ == "__main__":
    main("verify", Path(__file__).with_name("conf"))

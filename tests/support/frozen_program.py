"""envwatch on frozen clocks: `python frozen_program.py FLEET MILLISECONDS ARGUMENT...`; see `frozen`."""

from support.frozen import run

if __name__ == "__main__":
    run()

"""A floor for every depth network: what is lower in the picture is nearer, whatever the picture shows.

python docs/peers/ramp.py pictures/ maps/
"""

import numpy as np
from pictures import arguments, write_maps


def ramp(picture: np.ndarray) -> np.ndarray:
    """The number of the row."""
    height, width = picture.shape[:2]
    return np.repeat(np.arange(height)[:, None], width, axis=1)


def main() -> None:
    """Write the maps."""
    options = arguments(__doc__).parse_args()
    write_maps(options.pictures, options.maps, ramp)


if __name__ == "__main__":
    main()

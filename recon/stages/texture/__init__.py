"""A mesh and the frames that saw it become a mesh with a picture on it.

==========  ========================================================================
unwrap.py   the mesh cut into charts, laid out in a square
views.py    which frames are used, and what each of them can tell
bake.py     the best views of each texel, and the mean of their light
light.py    light and sRGB, sizes of pictures, colour for what has none
kernels.py  the loops
==========  ========================================================================
"""

from recon.stages.texture.texture import textured
from recon.stages.texture.unwrap import XATLAS, unwrapped

__all__ = ["XATLAS", "textured", "unwrapped"]

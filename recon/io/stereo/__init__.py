"""3D video in files: frames as they are coded, everything else carried over, and all that says "this is 3D"."""

"""One idea a file; iterator in, iterator out; no stage imports a sibling."""

"""What depth is worth: published benchmarks, published measures, and where the published scripts err.

``truth`` says what a benchmark knows, ``datasets`` reads it, ``protocol`` says by which rules it is compared,
``measures`` names every number, and the other modules compute them.
"""

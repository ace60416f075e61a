"""The network of Video Depth Anything (arXiv 2501.12375): encoder and temporal head."""

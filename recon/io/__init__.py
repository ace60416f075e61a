"""Files in and out: each format converts to the conventions of ``recon.types`` at its own border."""

"""From a picture and its parallax to two eyes."""

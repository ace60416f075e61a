"""The network of Video Depth Anything (arXiv 2501.12375): encoder and temporal head.

Without the temporal modules it is the network of Depth Anything V2 (arXiv 2406.09414).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from jaxtyping import Float
from torch import Tensor, nn

from recon.models.vda.encoder import PATCH, Encoder
from recon.models.vda.head import MAX_FRAMES, Head
from recon.models.vda.memory import Memory, Trace

Size = Literal["vits", "vitb", "vitl"]
"""Small, base and large."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What differs between the sizes."""

    width: int
    depth: int
    heads: int
    taps: tuple[int, int, int, int]
    """Blocks of the encoder that the head reads."""
    pyramid: tuple[int, int, int, int]
    """Channels of the head's four levels, fine to coarse."""
    features: int
    """Channels of the head where levels meet."""


DIMENSIONS: Final[Mapping[Size, Dimensions]] = {
    "vits": Dimensions(384, 12, 6, (2, 5, 8, 11), (48, 96, 192, 384), 64),
    "vitb": Dimensions(768, 12, 12, (2, 5, 8, 11), (96, 192, 384, 768), 128),
    "vitl": Dimensions(1024, 24, 16, (4, 11, 17, 23), (256, 512, 1024, 1024), 256),
}


class VideoDepthAnything(nn.Module):
    """Clips to maps, one for each frame; ``encode`` and ``decode`` are the two halves.

    Args:
        size: which of the three published sizes.
        temporal: with the modules that look along time; without them it is Depth Anything V2.
    """

    def __init__(self, size: Size, *, temporal: bool = True) -> None:
        super().__init__()
        dims = DIMENSIONS[size]
        self.pretrained = Encoder(dims.width, dims.depth, dims.heads, dims.taps)
        self.head = Head(dims.width, dims.pyramid, dims.features, temporal=temporal)

    def forward(self, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t h w"]:
        """Maps of whole clips of at most 32 normalised pictures, both sides multiples of 14."""
        batch, frames, _, height, width = clips.shape
        levels = [level.unbind() for level in self.encode(clips.flatten(0, 1))]
        maps = self.decode(levels, (height // PATCH, width // PATCH), frames)
        return maps.reshape(batch, frames, height, width)

    def encode(self, pictures: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n p c"]]:
        """Tokens of each picture at four depths: all that a picture gives by itself."""
        tokens: list[Tensor] = self.pretrained(pictures)
        return tokens

    def decode(
        self, levels: Sequence[Sequence[Float[Tensor, "p c"]]], grid: tuple[int, int], frames: int
    ) -> Float[Tensor, "n h w"]:
        """Maps from the tokens of each depth and picture, in clips of ``frames``, on a grid of (rows, columns)."""
        maps: Tensor = self.head(levels, grid, frames)
        return maps

    def follow(
        self, levels: Sequence[Float[Tensor, "p c"]], grid: tuple[int, int], memory: Memory
    ) -> tuple[Float[Tensor, "h w"], Trace]:
        """The map of the frame after those in memory, from its tokens of each depth, and its trace."""
        return self.head.follow(levels, grid, memory.attended)

    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """Take published weights (every name and shape must fit); time encodings that are left out are computed.

        Raises:
            RuntimeError: names or shapes differ.
        """
        computed = {name: value for name, value in self.state_dict().items() if name.endswith(".pe")}
        self.load_state_dict({**computed, **state}, strict=True, assign=True)


__all__ = ["DIMENSIONS", "MAX_FRAMES", "PATCH", "Dimensions", "Memory", "Size", "Trace", "VideoDepthAnything"]

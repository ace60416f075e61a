"""The encoder: a DINOv2 vision transformer (arXiv 2304.07193), read from the top down.

Parameter names and shapes are those of the published Depth Anything V2 and Video Depth Anything checkpoints.
Letters in shapes: n pictures, (h, w) pixels, p = (h / 14) * (w / 14) patches, c channels.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

PATCH = 14
"""Edge of a patch, pixels."""

PRETRAINED_GRID = 37
"""The position embeddings were learned for 37 x 37 patches: pictures of 518 x 518."""


class Encoder(nn.Module):
    """Pictures to tokens, one for each patch, tapped at four depths."""

    def __init__(self, width: int, depth: int, heads: int, taps: Sequence[int]) -> None:
        super().__init__()
        self.taps = frozenset(taps)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + PRETRAINED_GRID**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # unused here, but the published files hold it
        self.patch_embed = PatchEmbedding(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pictures: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n p c"]]:
        """Normalised tokens after each tapped block; both sides of the pictures are multiples of 14."""
        tokens = self._embed(pictures)
        tapped = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in self.taps:
                tapped.append(self.norm(tokens)[:, 1:])
        return tapped

    def _embed(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n p+1 c"]:
        rows, columns = pictures.shape[-2] // PATCH, pictures.shape[-1] // PATCH
        patches = self.patch_embed(pictures)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return tokens + self._positions(rows, columns)

    def _positions(self, rows: int, columns: int) -> Float[Tensor, "1 p+1 c"]:
        """Position embeddings for another grid.

        The 0.1 is what the published network was trained with: it resizes by a factor, not to a size, which shifts the
        samples a little.
        """
        if (rows, columns) == (PRETRAINED_GRID, PRETRAINED_GRID):
            return self.pos_embed
        class_position, positions = self.pos_embed[:, :1], self.pos_embed[:, 1:].transpose(1, 2)
        grid = positions.reshape(1, -1, PRETRAINED_GRID, PRETRAINED_GRID)
        factor = ((rows + 0.1) / PRETRAINED_GRID, (columns + 0.1) / PRETRAINED_GRID)
        grid = functional.interpolate(grid, scale_factor=factor, mode="bicubic", align_corners=False)
        return torch.cat([class_position, grid.flatten(2).transpose(1, 2)], dim=1)


class PatchEmbedding(nn.Module):
    """One linear map of the pixels of each patch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH)

    def forward(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n p c"]:
        """Patches in reading order."""
        patches: Tensor = self.proj(pictures)
        return patches.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Attention and a small network, each added to what came in (pre-norm, with LayerScale)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)
        self.ls2 = LayerScale(width)

    def forward(self, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        """Tokens of the next depth."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        deeper: Tensor = tokens + self.ls2(self.mlp(self.norm2(tokens)))
        return deeper


class Attention(nn.Module):
    """Every token of a picture looks at every other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        """Multi-head self-attention (arXiv 1706.03762, eq. 1)."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        attended: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return attended


class Mlp(nn.Module):
    """Each token for itself: four times as wide, exact GELU, and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        """The tokens' update."""
        update: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return update


class LayerScale(nn.Module):
    """One learned factor for each channel (arXiv 2103.17239)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        """Scaled tokens."""
        scaled: Tensor = tokens * self.gamma
        return scaled

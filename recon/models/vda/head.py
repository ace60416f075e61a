"""The head: a dense prediction transformer (DPT, arXiv 2103.13413) that also looks along time (arXiv 2501.12375, 3.1).

Parameter names and shapes are those of the published Depth Anything V2 and Video Depth Anything checkpoints.
Letters in shapes: n pictures, t consecutive ones of them make a clip; (h, w) of a feature map; p patches; c channels;
s = n / t * h * w sequences in time.

Clips go through ``forward`` as a whole. ``follow`` goes frame by frame: a frame looks at what the temporal attentions
were given of earlier ones (``recon.models.vda.memory``).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from recon.models.vda.encoder import PATCH
from recon.models.vda.memory import Trace

REFINED_TOGETHER = 4
"""Frames that go through the high resolutions at once: it bounds the memory, nothing else."""

REFINED_TOGETHER_ON_CPU = 1
"""One frame stays nearer to the caches: a fifth faster than four, measured at 280 x 504."""

TEMPORAL_ELEMENTS = 1 << 24
"""Numbers in the widest layer of a temporal module at once: it bounds the memory, nothing else."""

LOOKED_AT_ON_CPU = 1 << 21
"""Numbers of 32 frames side by side at once, in streaming: nearer to the caches, which halves the time at 518 x 924."""

MAX_FRAMES = 32
"""Longest clip that the temporal modules know positions for."""


class Head(nn.Module):
    """Tokens of the frames of one clip, or several, to one map for each frame.

    ``across_frames`` holds all that looks along time, at low resolution; ``each_frame`` the rest, at high resolution.
    """

    def __init__(self, width: int, pyramid: Sequence[int], features: int, *, temporal: bool) -> None:
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(width, level, 1) for level in pyramid)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(pyramid[0], pyramid[0], 4, stride=4),
                nn.ConvTranspose2d(pyramid[1], pyramid[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(pyramid[3], pyramid[3], 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(pyramid, features)
        seen_along_time = (pyramid[2], pyramid[3], features, features) if temporal else ()
        self.motion_modules = nn.ModuleList(TemporalModule(channels) for channels in seen_along_time)

    def forward(
        self, levels: Sequence[Sequence[Float[Tensor, "p c"]]], grid: tuple[int, int], frames: int
    ) -> Float[Tensor, "n h w"]:
        """One non-negative float32 map for each picture, at 14 pixels for each patch.

        Args:
            levels: for each of the four depths of the encoder, shallow to deep, the tokens of each picture.
            grid: rows and columns of patches.
            frames: consecutive pictures that are one clip.
        """
        deep = [torch.stack(tuple(level)) for level in levels[2:]]
        path = self.across_frames(deep[0], deep[1], grid, partial(self._along_time, frames=frames))
        together = REFINED_TOGETHER_ON_CPU if path.is_cpu else REFINED_TOGETHER
        maps = []
        for start in range(0, len(path), together):
            part = slice(start, start + together)
            shallow = [torch.stack(tuple(level[part])) for level in levels[:2]]
            maps.append(self.each_frame(path[part], shallow[0], shallow[1], grid))
        return torch.cat(maps)

    def follow(
        self, levels: Sequence[Float[Tensor, "p c"]], grid: tuple[int, int], past: Sequence[Trace]
    ) -> tuple[Float[Tensor, "h w"], Trace]:
        """The map of one frame that looks at 31 others (or none), and its own trace."""
        first, second, third, fourth = (level.unsqueeze(0) for level in levels)
        looking_back = LookingBack(self.motion_modules, past)
        path = self.across_frames(third, fourth, grid, looking_back)
        return self.each_frame(path, first, second, grid)[0], tuple(looking_back.trace)

    def across_frames(
        self,
        third: Float[Tensor, "n p c"],
        fourth: Float[Tensor, "n p c"],
        grid: tuple[int, int],
        along_time: Callable[[int, Tensor], Tensor],
    ) -> Float[Tensor, "n c h w"]:
        """The two deep levels, fused, with each position looking along time four times; 2 x the grid of patches."""
        rows, columns = grid
        third = along_time(0, self._reassemble(2, third, grid))
        fourth = along_time(1, self._reassemble(3, fourth, grid))
        third, fourth = self.scratch.layer3_rn(third), self.scratch.layer4_rn(fourth)
        path = self.scratch.refinenet4(fourth, None, grid)
        path = along_time(2, path)
        path = self.scratch.refinenet3(path, third, (2 * rows, 2 * columns))
        return along_time(3, path)

    def each_frame(
        self,
        path: Float[Tensor, "n c h w"],
        first: Float[Tensor, "n p c"],
        second: Float[Tensor, "n p c"],
        grid: tuple[int, int],
    ) -> Float[Tensor, "n h w"]:
        """The two shallow levels on top of it, and the map."""
        rows, columns = grid
        second = self.scratch.layer2_rn(self._reassemble(1, second, grid))
        path = self.scratch.refinenet2(path, second, (4 * rows, 4 * columns))
        first = self.scratch.layer1_rn(self._reassemble(0, first, grid))
        path = self.scratch.refinenet1(path, first, (8 * rows, 8 * columns))
        path = _resize(self.scratch.output_conv1(path), (PATCH * rows, PATCH * columns))
        with torch.autocast(path.device.type, enabled=False):  # half precision would quantise the map itself
            maps: Tensor = self.scratch.output_conv2(path.float())
        return maps[:, 0]

    def _reassemble(
        self, level: int, tokens: Float[Tensor, "n p c"], grid: tuple[int, int]
    ) -> Float[Tensor, "n c h w"]:
        """Tokens back to a picture, at the resolution of the level."""
        picture: Tensor = self.projects[level](tokens.transpose(1, 2).reshape(len(tokens), -1, *grid))
        resized: Tensor = self.resize_layers[level](picture)
        return resized

    def _along_time(self, number: int, pictures: Float[Tensor, "n c h w"], frames: int) -> Float[Tensor, "n c h w"]:
        """Without temporal modules (single pictures) nothing happens."""
        if not self.motion_modules:
            return pictures
        mixed: Tensor = self.motion_modules[number](pictures, frames)
        return mixed


class LookingBack:
    """The temporal modules, for one frame after others; gathers the trace of it."""

    def __init__(self, modules: nn.ModuleList, past: Sequence[Trace]) -> None:
        self._modules = modules
        self._past = past
        self.trace: list[tuple[Tensor, ...]] = []

    def __call__(self, number: int, picture: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
        """Without temporal modules (single pictures) nothing happens."""
        if not self._modules:
            return picture
        module = cast("TemporalModule", self._modules[number])
        mixed, inputs = module.follow(picture, [frame[number] for frame in self._past])
        self.trace.append(inputs)
        return mixed


class Scratch(nn.Module):
    """The convolutions between the levels and the map (the name is that of the published parameters)."""

    def __init__(self, pyramid: Sequence[int], features: int) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(level, features, 3, padding=1, bias=False) for level in pyramid
        )
        self.refinenet1, self.refinenet2, self.refinenet3, self.refinenet4 = (Fusion(features) for _ in range(4))
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.ReLU()
        )


class Fusion(nn.Module):
    """Adds a finer level to a coarser one and enlarges the sum (RefineNet, arXiv 1611.06612)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.resConfUnit1 = ResidualUnit(features)
        self.resConfUnit2 = ResidualUnit(features)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(
        self, path: Float[Tensor, "n c h w"], finer: Float[Tensor, "n c h w"] | None, size: tuple[int, int]
    ) -> Float[Tensor, "n c h2 w2"]:
        """The sum, at ``size`` = (height, width)."""
        if finer is not None:
            path = path + self.resConfUnit1(finer)
        # A 1x1 convolution and a linear resize commute: this order costs a quarter.
        return _resize(self.out_conv(self.resConfUnit2(path)), size)


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, added to what came in."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, picture: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The same size."""
        update: Tensor = self.conv2(functional.relu(self.conv1(functional.relu(picture))))
        return picture + update


class TemporalModule(nn.Module):
    """Lets each position of a feature map look along the frames of its clip; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels)

    def forward(self, pictures: Float[Tensor, "n c h w"], frames: int) -> Float[Tensor, "n c h w"]:
        """``frames`` consecutive pictures are one clip."""
        update: Tensor = self.temporal_transformer(pictures, frames)
        return pictures + update

    def follow(
        self, picture: Float[Tensor, "1 c h w"], past: Sequence[tuple[Tensor, ...]]
    ) -> tuple[Float[Tensor, "1 c h w"], tuple[Tensor, ...]]:
        """One frame, given what the attentions saw of others, and what they see of it."""
        update, inputs = self.temporal_transformer.follow(picture, past)
        return picture + update, inputs


class TemporalTransformer(nn.Module):
    """Feature maps to sequences in time, through one transformer block, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels)])
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, pictures: Float[Tensor, "n c h w"], frames: int) -> Float[Tensor, "n c h w"]:
        """The update of the maps."""
        count, channels, height, width = pictures.shape
        clips = self.norm(pictures).unflatten(0, (count // frames, frames))
        sequences = clips.permute(0, 3, 4, 1, 2).reshape(-1, frames, channels)
        together = max(1, TEMPORAL_ELEMENTS // (frames * TemporalBlock.EXPANSION * channels))
        mixed = torch.cat([self._mix(part) for part in sequences.split(together)])
        clips = mixed.reshape(count // frames, height, width, frames, channels).permute(0, 3, 4, 1, 2)
        return clips.reshape(count, channels, height, width)

    def follow(
        self, picture: Float[Tensor, "1 c h w"], past: Sequence[tuple[Tensor, ...]]
    ) -> tuple[Float[Tensor, "1 c h w"], tuple[Tensor, ...]]:
        """The update of one frame's map, and what the attentions saw of it."""
        newest = self.norm(picture).permute(2, 3, 0, 1).flatten(0, 1)
        block = cast("TemporalBlock", self.transformer_blocks[0])
        newest, inputs = block.follow(self.proj_in(newest), past)
        update: Tensor = self.proj_out(newest)
        return update.reshape(*picture.shape[2:], 1, -1).permute(2, 3, 0, 1), inputs

    def _mix(self, sequences: Float[Tensor, "s t c"]) -> Float[Tensor, "s t c"]:
        sequences = self.proj_in(sequences)
        for block in self.transformer_blocks:
            sequences = block(sequences)
        mixed: Tensor = self.proj_out(sequences)
        return mixed


class TemporalBlock(nn.Module):
    """Two self-attentions along time and a gated feed-forward network, each added to what came in."""

    EXPANSION = 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(channels) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.ff = FeedForward(channels, self.EXPANSION)
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, sequences: Float[Tensor, "s t c"]) -> Float[Tensor, "s t c"]:
        """The sequences, mixed."""
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            sequences = sequences + attention(norm(sequences))
        update: Tensor = self.ff(self.ff_norm(sequences))
        return sequences + update

    def follow(
        self, newest: Float[Tensor, "s 1 c"], past: Sequence[tuple[Tensor, ...]]
    ) -> tuple[Float[Tensor, "s 1 c"], tuple[Tensor, ...]]:
        """The newest frame, mixed, and what the attentions saw of it."""
        inputs: list[Tensor] = []
        for attention, norm, *before in zip(self.attention_blocks, self.norms, *past, strict=True):
            inputs.append(norm(newest))
            newest = newest + attention.last([*before, inputs[-1]])
        update: Tensor = self.ff(self.ff_norm(newest))
        return newest + update, tuple(inputs)


class TemporalAttention(nn.Module):
    """Each frame looks at all frames of its clip; positions in time are added to query, key and value alike."""

    HEADS = 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pos_encoder = TimeEncoding(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, sequences: Float[Tensor, "s t c"]) -> Float[Tensor, "s t c"]:
        """Multi-head self-attention (arXiv 1706.03762, eq. 1)."""
        placed = self.pos_encoder(sequences)
        query, key, value = (
            linear(placed).unflatten(-1, (self.HEADS, -1)).transpose(1, 2)
            for linear in (self.to_q, self.to_k, self.to_v)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        attended: Tensor = self.to_out[0](mixed.transpose(1, 2).flatten(2))
        return attended

    def last(self, frames: Sequence[Float[Tensor, "s 1 c"]]) -> Float[Tensor, "s 1 c"]:
        """What ``forward`` gives for the last of these frames."""
        elements = LOOKED_AT_ON_CPU if frames[-1].is_cpu else TEMPORAL_ELEMENTS
        together = max(1, elements // (len(frames) * frames[-1].shape[-1]))
        parts = zip(*(torch.split(frame, together) for frame in frames), strict=True)
        return torch.cat([self._last(torch.cat(part, dim=1)) for part in parts])

    def _last(self, sequences: Float[Tensor, "s t c"]) -> Float[Tensor, "s 1 c"]:
        """Without the keys and values of all frames: q . (W x) = (W^T q) . x, and 8 queries are fewer than t inputs."""
        placed = self.pos_encoder(sequences)
        query = self.to_q(placed[:, -1]).unflatten(-1, (self.HEADS, -1))
        key, value = (linear.weight.reshape(*query.shape[1:], -1) for linear in (self.to_k, self.to_v))
        asked = torch.einsum("shd,hdc->shc", query, key).unsqueeze(1)
        seen = placed.unsqueeze(1)
        mixed = functional.scaled_dot_product_attention(asked, seen, seen, scale=query.shape[-1] ** -0.5)
        attended: Tensor = self.to_out[0](torch.einsum("sthc,hdc->sthd", mixed, value).flatten(2))
        return attended


class TimeEncoding(nn.Module):
    """Adds sines and cosines of the position in time (arXiv 1706.03762, 3.5)."""

    pe: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        # On the CPU even where the network is laid out on the meta device: this buffer is computed, not loaded.
        position = torch.arange(MAX_FRAMES, device="cpu").unsqueeze(1)
        frequency = torch.exp(torch.arange(0, channels, 2, device="cpu") * (-math.log(10000.0) / channels))
        waves = torch.stack([torch.sin(position * frequency), torch.cos(position * frequency)], dim=-1)
        self.register_buffer("pe", waves.flatten(1).unsqueeze(0))

    def forward(self, sequences: Float[Tensor, "s t c"]) -> Float[Tensor, "s t c"]:
        """The sequences, with their positions."""
        return sequences + self.pe[:, : sequences.shape[1]]


class FeedForward(nn.Module):
    """Wide, gated by GELU, and back (GEGLU, arXiv 2002.05202, eq. 6)."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * channels // 2
        self.net = nn.ModuleList([GatedLinear(channels, inner), nn.Identity(), nn.Linear(inner, channels)])

    def forward(self, sequences: Float[Tensor, "s t c"]) -> Float[Tensor, "s t c"]:
        """The sequences' update."""
        update: Tensor = self.net[2](self.net[0](sequences))
        return update


class GatedLinear(nn.Module):
    """A linear map whose second half gates the first."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, sequences: Float[Tensor, "s t c"]) -> Float[Tensor, "s t c2"]:
        """Values times GELU of gates."""
        value, gate = self.proj(sequences).chunk(2, dim=-1)
        gated: Tensor = value * functional.gelu(gate)
        return gated


def _resize(picture: Float[Tensor, "n c h w"], size: tuple[int, int]) -> Float[Tensor, "n c h2 w2"]:
    return functional.interpolate(picture, size, mode="bilinear", align_corners=True)

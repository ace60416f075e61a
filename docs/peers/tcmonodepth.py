"""Disparity by TCMonoDepth small (Li et al., ICCV workshops 2021; MIT; 0.8 MB), for `recon eval --predictions`.

    pip install onnxruntime
    python docs/peers/tcmonodepth.py pictures/ maps/ --weights tcmonodepth_tcsmallnet_192x320.onnx

The network was trained for videos that do not flicker; it has no memory, each frame is seen alone. The exported file
is one of github.com/locaal-ai/obs-backgroundremoval. It takes RGB from 0 to 255, and pictures of one size: they are
resized, with cubic interpolation as in the authors' demo (github.com/yu-li/TCMonoDepth, there to other sizes).
"""

from pathlib import Path

import cv2
import numpy as np
from pictures import Network, arguments, write_maps


def network(weights: Path) -> Network:
    """What the ONNX file computes, at the size of each picture."""
    try:
        import onnxruntime  # noqa: PLC0415 - no dependency of recon; --help works without it
    except ModuleNotFoundError:
        raise SystemExit("TCMonoDepth needs onnxruntime: pip install onnxruntime") from None
    if not weights.is_file():
        raise SystemExit(f"{weights}: there is no such file; give tcmonodepth_tcsmallnet_192x320.onnx")
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    _, _, rows, columns = given.shape

    def disparity(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_CUBIC)
        (found,) = session.run(None, {given.name: small.transpose(2, 0, 1)[None].astype(np.float32)})
        return cv2.resize(found[0, 0], (width, height), interpolation=cv2.INTER_LINEAR)

    return disparity


def main() -> None:
    """Write the maps."""
    parser = arguments(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="tcmonodepth_tcsmallnet_192x320.onnx")
    options = parser.parse_args()
    write_maps(options.pictures, options.maps, network(options.weights))


if __name__ == "__main__":
    main()

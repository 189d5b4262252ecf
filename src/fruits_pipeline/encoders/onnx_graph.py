"""Rearranges an exported network: how many images each of its layers takes at once.

The first layers are done image by image: what one of them hands to the next is as large as a core's second-level cache
(4.8 MB at most, for one image). The others take all images of a call together: theirs is small (0.6 MB at most), and
what a layer costs besides its arithmetic, to be called and to fetch its weights, they share. Measured with ONNX Runtime
on two cores, one process each, alpha 1.0, decoding included: 6.8 ms an image with 16 of them a call, 7.3 with 4; not
divided, 7.6 one by one and 9.2 with 16 (cores with a second-level cache of 2 MB; with 1 MB, 4 are as good as 16).
Divided after block 9 or 12 it takes the same time, after block 2 7.3 ms.
"""

from __future__ import annotations

from typing import Any, Final

import onnx
from onnx import TensorProto, compose, helper, shape_inference
from onnx.utils import Extractor

FRONT: Final = "block_5_add"
"""Keras's last layer that is done image by image. After a sum, ONNX Runtime's fusions are those of the whole network,
so that not even rounding tells the two apart."""

_IMAGE: Final = "front/image"


def front_by_image(network: onnx.ModelProto) -> onnx.ModelProto:
    """The same network, whose front is done image by image (ONNX `Scan`) and whose back takes all images at once.

    Args:
        network: Input: (n, h, w, c) uint8 pixels. Outputs: what `FRONT` hands on, and the features.

    Returns:
        A network of the same input and of the features alone. The number of images may differ from call to call.
    """
    (pixels,), (seam, features) = network.graph.input, network.graph.output
    middle = _untransposed(network.graph, seam.name)
    extractor = Extractor(shape_inference.infer_shapes(network))
    front = compose.add_prefix(extractor.extract_model([pixels.name], [middle]), "front/").graph
    back = extractor.extract_model([middle], [features.name]).graph
    scan = helper.make_node("Scan", [pixels.name], [middle], body=_of_one_image(front), num_scan_inputs=1)
    graph = helper.make_graph([scan, *back.node], network.graph.name, [pixels], [features], back.initializer)
    divided = helper.make_model(graph, opset_imports=network.opset_import, ir_version=network.ir_version)
    onnx.checker.check_model(divided)
    return divided


def _untransposed(graph: Any, name: str) -> str:
    """The tensor behind an output: Keras wants channels last, where ONNX, and the next layer, have them first."""
    made_by = {output: node for node in graph.node for output in node.output}
    while made_by[name].op_type in ("Identity", "Transpose"):
        name = made_by[name].input[0]
    return name


def _of_one_image(front: Any) -> Any:
    """The body of the loop: a network of batches, for an image without its batch's dimension."""
    (pixels,), (middle,) = front.input, front.output
    (height, width, channels), shape = (
        [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:] for value in (pixels, middle)
    )
    axis = helper.make_tensor("front/axis", TensorProto.INT64, [1], [0])
    nodes = [
        helper.make_node("Unsqueeze", [_IMAGE, axis.name], [pixels.name]),
        *front.node,
        helper.make_node("Squeeze", [middle.name, axis.name], ["front/of_image"]),
    ]
    image = helper.make_tensor_value_info(_IMAGE, TensorProto.UINT8, [height, width, channels])
    result = helper.make_tensor_value_info("front/of_image", TensorProto.FLOAT, shape)
    return helper.make_graph(nodes, "front", [image], [result], [*front.initializer, axis])

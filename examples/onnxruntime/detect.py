"""Faces of a picture from an exported file, with ONNX Runtime, numpy and Pillow alone.

python detect.py model.onnx photo.jpg            raw outputs, decoded here
python detect.py model.faces.onnx photo.jpg      exported with postprocess=true: gives faces

Everything that the network needs to know about pictures is in the metadata of the file.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def preprocess(rgb, pixels):
    """(H, W, 3) RGB of uint8 to what the network takes."""
    if pixels["type"] == "uint8":
        return np.ascontiguousarray(rgb)[None]
    multiple = pixels["multiple"]
    bottom, right = (-side % multiple for side in rgb.shape[:2])
    image = np.pad(rgb, ((0, bottom), (0, right), (0, 0))).astype(np.float32)
    image = (image - np.float32(pixels["mean"])) / np.float32(pixels["scale"])
    if pixels["order"] == "bgr":
        image = image[..., ::-1]
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]


def make_anchors(layout, height, width):
    """Centers and sizes (N, 2) of the anchors in pixels, levels in order and rows first."""
    centers, sizes = [], []
    levels = zip(layout["cell_strides"], layout["strides"], layout["sizes"], strict=True)
    for cell, stride, size in levels:
        rows, columns = -(-height // cell), -(-width // cell)
        y, x = np.mgrid[:rows, :columns] + 0.5
        centers.append(np.stack([x, y], axis=2).reshape(-1, 2) * stride)
        sizes.append(np.tile([size, size * layout["ratio"]], (rows * columns, 1)))
    return np.concatenate(centers), np.concatenate(sizes)


def decode_anchors(outputs, chosen, layout, height, width):
    """Boxes (K, 4) of the chosen anchors in pixels."""
    centers, sizes = (part[chosen] for part in make_anchors(layout, height, width))
    locations = outputs[0][0, chosen]
    offset, growth = layout["variance"]
    center = centers + locations[:, :2] * offset * sizes
    size = sizes * np.exp(np.minimum(locations[:, 2:] * growth, 16))
    return np.concatenate([center - size / 2, center + size / 2], axis=1)


def decode_points(outputs, chosen, layout, height, width):
    """Boxes (K, 4) of the chosen cells in pixels, for detectors without anchors such as YuNet."""
    corners, strides = [], []
    for stride in layout["strides"]:
        y, x = np.mgrid[: height // stride, : width // stride] * stride
        corners.append(np.stack([x, y], axis=2).reshape(-1, 2))
        strides.append(np.full((x.size, 1), stride))
    corner, stride = (np.concatenate(part)[chosen] for part in (corners, strides))
    offsets = outputs[1][0, chosen]
    center = offsets[:, :2] * stride + corner
    half = np.exp(np.minimum(offsets[:, 2:], 16)) * stride / 2
    return np.concatenate([center - half, center + half], axis=1)


def score(outputs, points):
    """Face probability (N,) at every anchor or cell of one picture."""
    if points is None:
        return sigmoid(outputs[1][0, :, 1] - outputs[1][0, :, 0])
    product = sigmoid(outputs[0][0, :, 0]) * sigmoid(outputs[2][0, :, 0])
    return np.sqrt(product) if points["root"] else product


def sigmoid(logits):
    """Logits to 0..1."""
    return 1 / (1 + np.exp(-np.float32(logits)))


def suppress(boxes, scores, threshold):
    """Indices of the boxes that no better one overlaps by more than the threshold."""
    order, kept = np.argsort(-scores, kind="stable"), []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        order = rest[shared <= threshold * (area[best] + area[rest] - shared)]
    return np.array(kept, dtype=int)


def decode(outputs, description, height, width):
    """Raw outputs of one picture to (K, 5): x1, y1, x2, y2 in pixels and score."""
    limits, points = description["suppression"], description.get("points")
    scores = score(outputs, points)
    chosen = np.argsort(-scores, kind="stable")[: limits["max_candidates"]]
    chosen = chosen[scores[chosen] > limits["score_threshold"]]
    if points is None:
        boxes = decode_anchors(outputs, chosen, description["anchors"], height, width)
    else:
        boxes = decode_points(outputs, chosen, points, height, width)
    kept = suppress(boxes, scores[chosen], limits["iou_threshold"])[: limits["max_faces"]]
    return np.concatenate([boxes[kept], scores[chosen][kept, None]], axis=1)


def detect(session, rgb):
    """Faces (K, 5) of a picture (H, W, 3) RGB."""
    description = json.loads(session.get_modelmeta().custom_metadata_map["secateur"])
    images = preprocess(rgb, description["pixels"])
    outputs = session.run(None, {session.get_inputs()[0].name: images})
    if description["suppression"]["inside"]:
        return outputs[0]
    return decode(outputs, description, *images.shape[-2:])


def main(model: str, photos: list[str]) -> None:
    """Print the faces of photographs, under their names if there are several."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for photo in photos:
        picture = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
        found = detect(session, np.asarray(picture))
        if len(photos) > 1:
            print(photo)
        for x1, y1, x2, y2, certainty in found[found[:, 4] >= 0.5]:
            print(f"{x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f} {certainty:.3f}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("python detect.py model.onnx photo.jpg ...")
    main(sys.argv[1], sys.argv[2:])

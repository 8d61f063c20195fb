package org.secateur.faces;

import java.util.ArrayList;
import java.util.List;

/** Faces of a detector with anchors, as "anchors" of the JSON says. */
public final class AnchorDecoder implements FaceDecoder {
    private static final float LARGEST_GROWTH = 16;

    private final int[] cellStrides;
    private final float[] strides;
    private final float[] sizes;
    private final float ratio;
    private final float[] variance;
    private final Suppression suppression;

    /**
     * @param cellStrides pixels per cell of each level
     * @param strides pixels between neighboring anchors of each level
     * @param sizes width of the anchors of each level
     * @param ratio height over width
     * @param variance factors of offsets and of logarithms of sizes
     * @param suppression which faces count
     */
    public AnchorDecoder(
            int[] cellStrides,
            float[] strides,
            float[] sizes,
            float ratio,
            float[] variance,
            Suppression suppression) {
        this.cellStrides = cellStrides.clone();
        this.strides = strides.clone();
        this.sizes = sizes.clone();
        this.ratio = ratio;
        this.variance = variance.clone();
        this.suppression = suppression;
    }

    /** From offsets (N, 4) and logits (N, 2) of background and face. */
    @Override
    public List<Face> decode(float[][] outputs, int height, int width) {
        float[] locations = outputs[0];
        float[] logits = outputs[1];
        float[][] anchors = anchors(height, width);
        if (locations.length != 4 * anchors.length || logits.length != 2 * anchors.length) {
            throw new IllegalArgumentException("the outputs do not fit the anchors");
        }
        List<Face> found = new ArrayList<>();
        for (int i = 0; i < anchors.length; i++) {
            float score = 1 / (1 + (float) Math.exp(logits[2 * i] - logits[2 * i + 1]));
            if (suppression.admits(score)) {
                found.add(face(anchors[i], locations, 4 * i, score));
            }
        }
        return suppression.best(found);
    }

    private Face face(float[] anchor, float[] locations, int at, float score) {
        float x = anchor[0] + locations[at] * variance[0] * anchor[2];
        float y = anchor[1] + locations[at + 1] * variance[0] * anchor[3];
        float width = anchor[2] * growth(locations[at + 2]);
        float height = anchor[3] * growth(locations[at + 3]);
        return new Face(x - width / 2, y - height / 2, x + width / 2, y + height / 2, score);
    }

    private float growth(float location) {
        return (float) Math.exp(Math.min(location * variance[1], LARGEST_GROWTH));
    }

    /** Centers and sizes of the anchors in pixels, levels in order and rows first. */
    private float[][] anchors(int height, int width) {
        List<float[]> found = new ArrayList<>();
        for (int level = 0; level < strides.length; level++) {
            int rows = (height + cellStrides[level] - 1) / cellStrides[level];
            int columns = (width + cellStrides[level] - 1) / cellStrides[level];
            for (int row = 0; row < rows; row++) {
                for (int column = 0; column < columns; column++) {
                    float[] anchor = {
                        (column + 0.5f) * strides[level],
                        (row + 0.5f) * strides[level],
                        sizes[level],
                        sizes[level] * ratio
                    };
                    found.add(anchor);
                }
            }
        }
        return found.toArray(new float[0][]);
    }
}

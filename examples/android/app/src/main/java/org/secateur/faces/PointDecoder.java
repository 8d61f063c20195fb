package org.secateur.faces;

import java.util.ArrayList;
import java.util.List;

/** Faces of a detector without anchors such as YuNet, as "points" of the JSON says. */
public final class PointDecoder implements FaceDecoder {
    private static final float LARGEST_GROWTH = 16;

    private final int[] strides;
    private final boolean root;
    private final Suppression suppression;

    /**
     * @param strides pixels per cell of each level
     * @param root whether a score is the root of the product of both probabilities
     * @param suppression which faces count
     */
    public PointDecoder(int[] strides, boolean root, Suppression suppression) {
        this.strides = strides.clone();
        this.root = root;
        this.suppression = suppression;
    }

    /** From logits of faces (N), offsets (N, 4) and logits of objects (N); landmarks are not read. */
    @Override
    public List<Face> decode(float[][] outputs, int height, int width) {
        float[] classes = outputs[0];
        float[] offsets = outputs[1];
        float[] objects = outputs[2];
        int cells = 0;
        for (int stride : strides) {
            cells += (height / stride) * (width / stride);
        }
        if (classes.length != cells || offsets.length != 4 * cells || objects.length != cells) {
            throw new IllegalArgumentException("the outputs do not fit the cells");
        }
        List<Face> found = new ArrayList<>();
        int cell = 0;
        for (int stride : strides) {
            for (int row = 0; row < height / stride; row++) {
                for (int column = 0; column < width / stride; column++, cell++) {
                    float product = sigmoid(classes[cell]) * sigmoid(objects[cell]);
                    float score = root ? (float) Math.sqrt(product) : product;
                    if (suppression.admits(score)) {
                        found.add(face(offsets, 4 * cell, column, row, stride, score));
                    }
                }
            }
        }
        return suppression.best(found);
    }

    private static Face face(
            float[] offsets, int at, int column, int row, int stride, float score) {
        float x = (column + offsets[at]) * stride;
        float y = (row + offsets[at + 1]) * stride;
        float width = (float) Math.exp(Math.min(offsets[at + 2], LARGEST_GROWTH)) * stride;
        float height = (float) Math.exp(Math.min(offsets[at + 3], LARGEST_GROWTH)) * stride;
        return new Face(x - width / 2, y - height / 2, x + width / 2, y + height / 2, score);
    }

    private static float sigmoid(float logit) {
        return 1 / (1 + (float) Math.exp(-logit));
    }
}

package org.secateur.faces;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;

/** From raw outputs to faces, as "anchors" and "suppression" of the JSON say. */
public final class FaceDecoder {
    private static final float LARGEST_GROWTH = 16;

    private final int[] cellStrides;
    private final float[] strides;
    private final float[] sizes;
    private final float ratio;
    private final float[] variance;
    private final float scoreThreshold;
    private final float overlapThreshold;
    private final int maxCandidates;
    private final int maxFaces;

    /**
     * @param cellStrides pixels per cell of each level
     * @param strides pixels between neighboring anchors of each level
     * @param sizes width of the anchors of each level
     * @param ratio height over width
     * @param variance factors of offsets and of logarithms of sizes
     * @param scoreThreshold only anchors of a higher score count
     * @param overlapThreshold a box is dropped if a better one overlaps it by more
     * @param maxCandidates boxes that enter, the best first; 0 for all
     * @param maxFaces boxes that leave
     */
    public FaceDecoder(
            int[] cellStrides,
            float[] strides,
            float[] sizes,
            float ratio,
            float[] variance,
            float scoreThreshold,
            float overlapThreshold,
            int maxCandidates,
            int maxFaces) {
        this.cellStrides = cellStrides.clone();
        this.strides = strides.clone();
        this.sizes = sizes.clone();
        this.ratio = ratio;
        this.variance = variance.clone();
        this.scoreThreshold = scoreThreshold;
        this.overlapThreshold = overlapThreshold;
        this.maxCandidates = maxCandidates;
        this.maxFaces = maxFaces;
    }

    /**
     * @param locations (N, 4) offsets
     * @param logits (N, 2) of background and face
     * @param height of the input in pixels
     * @param width of the input in pixels
     * @return faces, the surest first
     */
    public List<Face> decode(float[] locations, float[] logits, int height, int width) {
        float[][] anchors = anchors(height, width);
        if (locations.length != 4 * anchors.length || logits.length != 2 * anchors.length) {
            throw new IllegalArgumentException("the outputs do not fit the anchors");
        }
        float[] scores = new float[anchors.length];
        List<Integer> order = new ArrayList<>();
        for (int i = 0; i < scores.length; i++) {
            scores[i] = 1 / (1 + (float) Math.exp(logits[2 * i] - logits[2 * i + 1]));
            if (scores[i] > scoreThreshold) {
                order.add(i);
            }
        }
        order.sort(Comparator.comparingDouble((Integer i) -> -scores[i])); // equal scores stay
        if (maxCandidates > 0 && order.size() > maxCandidates) {
            order = order.subList(0, maxCandidates);
        }
        List<Face> faces = new ArrayList<>();
        for (int i : order) {
            Face face = face(anchors[i], locations, 4 * i, scores[i]);
            if (faces.stream().noneMatch(better -> better.overlap(face) > overlapThreshold)) {
                faces.add(face);
            }
            if (faces.size() == maxFaces) {
                break;
            }
        }
        return Collections.unmodifiableList(faces);
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

package org.secateur.faces;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;

/** Which faces count, as "suppression" of the JSON says. */
public final class Suppression {
    private final float scoreThreshold;
    private final float overlapThreshold;
    private final int maxCandidates;
    private final int maxFaces;

    /**
     * @param scoreThreshold only faces of a higher score count
     * @param overlapThreshold a box is dropped if a better one overlaps it by more
     * @param maxCandidates boxes that enter, the best first; 0 for all
     * @param maxFaces boxes that leave
     */
    public Suppression(
            float scoreThreshold, float overlapThreshold, int maxCandidates, int maxFaces) {
        this.scoreThreshold = scoreThreshold;
        this.overlapThreshold = overlapThreshold;
        this.maxCandidates = maxCandidates;
        this.maxFaces = maxFaces;
    }

    /** Whether a face of this score is worth decoding. */
    public boolean admits(float score) {
        return score > scoreThreshold;
    }

    /** What no better face overlaps, the surest first. */
    public List<Face> best(List<Face> candidates) {
        List<Face> order = new ArrayList<>(candidates);
        order.sort(Comparator.comparingDouble((Face face) -> -face.score)); // equal scores stay
        if (maxCandidates > 0 && order.size() > maxCandidates) {
            order = order.subList(0, maxCandidates);
        }
        List<Face> faces = new ArrayList<>();
        for (Face face : order) {
            if (faces.stream().noneMatch(better -> better.overlap(face) > overlapThreshold)) {
                faces.add(face);
            }
            if (faces.size() == maxFaces) {
                break;
            }
        }
        return Collections.unmodifiableList(faces);
    }
}

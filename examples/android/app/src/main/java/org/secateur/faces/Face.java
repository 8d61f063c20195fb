package org.secateur.faces;

/** One face: corners in pixels of the input, and a score in 0..1. */
public final class Face {
    public final float x1;
    public final float y1;
    public final float x2;
    public final float y2;
    public final float score;

    public Face(float x1, float y1, float x2, float y2, float score) {
        this.x1 = x1;
        this.y1 = y1;
        this.x2 = x2;
        this.y2 = y2;
        this.score = score;
    }

    /** Intersection over union of two boxes. */
    public float overlap(Face other) {
        float width = Math.max(0, Math.min(x2, other.x2) - Math.max(x1, other.x1));
        float height = Math.max(0, Math.min(y2, other.y2) - Math.max(y1, other.y1));
        float shared = width * height;
        return shared / (area() + other.area() - shared);
    }

    private float area() {
        return (x2 - x1) * (y2 - y1);
    }
}

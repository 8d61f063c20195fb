package org.secateur.faces;

import java.util.List;

/** From raw outputs of a network to faces. */
public interface FaceDecoder {
    /**
     * @param outputs of one input, in the order of "outputs" of the JSON
     * @param height of the input in pixels
     * @param width of the input in pixels
     * @return faces, the surest first
     */
    List<Face> decode(float[][] outputs, int height, int width);
}

package org.secateur.faces;

/** From the pixels of a bitmap to what the network takes, as "pixels" of its JSON says. */
public final class Preprocessing {
    private final boolean reversed;
    private final float[] mean;
    private final float[] scale;
    private final int multiple;

    /**
     * @param order "rgb" or "bgr"
     * @param mean red, green and blue that are subtracted from values in 0..255
     * @param scale what the differences are divided by
     * @param multiple sides have to be multiples of this; black is added at the right and bottom
     */
    public Preprocessing(String order, float[] mean, float[] scale, int multiple) {
        if (!order.equals("rgb") && !order.equals("bgr")) {
            throw new IllegalArgumentException("order " + order + " is not known");
        }
        if (mean.length != 3 || scale.length != 3 || multiple < 1) {
            throw new IllegalArgumentException("the description of the pixels is incomplete");
        }
        this.reversed = order.equals("bgr");
        this.mean = mean.clone();
        this.scale = scale.clone();
        this.multiple = multiple;
    }

    /** A side of the input for a side of the picture. */
    public int padded(int side) {
        return (side + multiple - 1) / multiple * multiple;
    }

    /**
     * @param argb pixels row by row, as Bitmap.getPixels gives them
     * @param width of the picture
     * @param height of the picture
     * @return (3, padded(height), padded(width)), channel by channel
     */
    public float[] toInput(int[] argb, int width, int height) {
        int rows = padded(height);
        int columns = padded(width);
        float[] input = new float[3 * rows * columns];
        for (int channel = 0; channel < 3; channel++) {
            int start = (reversed ? 2 - channel : channel) * rows * columns;
            int shift = 16 - 8 * channel;
            float black = -mean[channel] / scale[channel];
            for (int y = 0; y < rows; y++) {
                for (int x = 0; x < columns; x++) {
                    boolean inside = y < height && x < width;
                    int value = inside ? argb[y * width + x] >> shift & 0xFF : 0;
                    input[start + y * columns + x] =
                            inside ? (value - mean[channel]) / scale[channel] : black;
                }
            }
        }
        return input;
    }
}

"""What the Android example takes from others, as declarations: enough for a compiler, nothing runs.

Signatures of Android's SDK (android.*, org.json), AndroidX Activity 1.9, ONNX Runtime and
ExecuTorch for Java, as their reference pages give them. With them the Kotlin files are compiled
where there is a Kotlin compiler but no Android SDK.
"""

from __future__ import annotations

JAVA = {
    "android.content.Context": """public abstract class Context {
        public native android.content.res.AssetManager getAssets();
        public native java.io.File getFilesDir();
        public native ContentResolver getContentResolver(); }""",
    "android.content.ContentResolver": "public abstract class ContentResolver {}",
    "android.content.res.AssetManager": """public final class AssetManager {
        public native String[] list(String path) throws java.io.IOException;
        public native java.io.InputStream open(String name) throws java.io.IOException; }""",
    "android.graphics.Bitmap": """public final class Bitmap {
        public enum Config { ARGB_8888 }
        public native int getWidth();
        public native int getHeight();
        public native void getPixels(int[] p, int offset, int stride, int x, int y, int w, int h);
        public native Bitmap copy(Config config, boolean mutable);
        public static native Bitmap createScaledBitmap(Bitmap b, int w, int h, boolean f); }""",
    "android.graphics.Canvas": """public class Canvas {
        public Canvas(Bitmap bitmap) {}
        public native void drawRect(float l, float t, float r, float b, Paint paint); }""",
    "android.graphics.Color": "public class Color { public static final int GREEN = 0xFF00FF00; }",
    "android.graphics.ImageDecoder": """public final class ImageDecoder {
        public static final int ALLOCATOR_SOFTWARE = 1;
        public abstract static class Source {}
        public static class ImageInfo {}
        public interface OnHeaderDecodedListener {
            void onHeaderDecoded(ImageDecoder decoder, ImageInfo info, Source source); }
        public static native Source createSource(android.content.ContentResolver r,
            android.net.Uri uri);
        public static native Bitmap decodeBitmap(Source source, OnHeaderDecodedListener listener)
            throws java.io.IOException;
        public native void setAllocator(int allocator);
        public native int getAllocator(); }""",
    "android.graphics.Paint": """public class Paint {
        public static final int ANTI_ALIAS_FLAG = 1;
        public enum Style { FILL, STROKE }
        public Paint(int flags) {}
        public native Style getStyle();
        public native void setStyle(Style style);
        public native int getColor();
        public native void setColor(int color);
        public native float getStrokeWidth();
        public native void setStrokeWidth(float width); }""",
    "android.net.Uri": "public abstract class Uri {}",
    "android.os.Build": """public class Build {
        public static class VERSION { public static final int SDK_INT = Integer.parseInt("35"); }
        public static class VERSION_CODES { public static final int P = 28; } }""",
    "android.os.Bundle": "public final class Bundle {}",
    "android.provider.MediaStore": """public final class MediaStore {
        public static final class Images { public static final class Media {
            @Deprecated public static native android.graphics.Bitmap getBitmap(
                android.content.ContentResolver r, android.net.Uri uri) throws java.io.IOException;
        } } }""",
    "android.view.View": """public class View {
        public View(android.content.Context context) {}
        public interface OnClickListener { void onClick(View view); }
        public native void setOnClickListener(OnClickListener listener);
        public native boolean getFitsSystemWindows();
        public native void setFitsSystemWindows(boolean fits); }""",
    "android.view.ViewGroup": """public abstract class ViewGroup extends View {
        public ViewGroup(android.content.Context context) { super(context); }
        public native void addView(View child); }""",
    "android.widget.TextView": """public class TextView extends android.view.View {
        public TextView(android.content.Context context) { super(context); }
        public native CharSequence getText();
        public native void setText(CharSequence text); }""",
    "android.widget.Button": """public class Button extends TextView {
        public Button(android.content.Context context) { super(context); } }""",
    "android.widget.ImageView": """public class ImageView extends android.view.View {
        public ImageView(android.content.Context context) { super(context); }
        public native boolean getAdjustViewBounds();
        public native void setAdjustViewBounds(boolean adjust);
        public native void setImageBitmap(android.graphics.Bitmap bitmap); }""",
    "android.widget.LinearLayout": """public class LinearLayout extends android.view.ViewGroup {
        public static final int VERTICAL = 1;
        public LinearLayout(android.content.Context context) { super(context); }
        public native int getOrientation();
        public native void setOrientation(int orientation); }""",
    "android.app.Activity": """public abstract class Activity extends android.content.Context {
        protected native void onCreate(android.os.Bundle state);
        protected native void onDestroy();
        public native void setContentView(android.view.View view);
        public native final void runOnUiThread(Runnable action); }""",
    "org.json.JSONArray": """public class JSONArray {
        public native int length();
        public native int getInt(int index);
        public native double getDouble(int index); }""",
    "org.json.JSONObject": """public class JSONObject {
        public JSONObject(String text) {}
        public native String getString(String name);
        public native int getInt(String name);
        public native double getDouble(String name);
        public native boolean getBoolean(String name);
        public native boolean isNull(String name);
        public native JSONObject getJSONObject(String name);
        public native JSONArray getJSONArray(String name); }""",
    "ai.onnxruntime.OnnxValue": "public interface OnnxValue extends AutoCloseable {}",
    "ai.onnxruntime.OnnxTensorLike": """public abstract class OnnxTensorLike implements OnnxValue {
        public native void close(); }""",
    "ai.onnxruntime.OnnxTensor": """public class OnnxTensor extends OnnxTensorLike {
        public static native OnnxTensor createTensor(OrtEnvironment e, java.nio.FloatBuffer data,
            long[] shape) throws OrtException;
        public native java.nio.FloatBuffer getFloatBuffer(); }""",
    "ai.onnxruntime.OrtException": "public class OrtException extends Exception {}",
    "ai.onnxruntime.OrtEnvironment": """public final class OrtEnvironment implements AutoCloseable {
        public static native OrtEnvironment getEnvironment();
        public native OrtSession createSession(byte[] model) throws OrtException;
        public native void close(); }""",
    "ai.onnxruntime.OrtSession": """public class OrtSession implements AutoCloseable {
        public native java.util.Set<String> getInputNames();
        public native Result run(java.util.Map<String, ? extends OnnxTensorLike> inputs)
            throws OrtException;
        public native void close() throws OrtException;
        public static class Result implements AutoCloseable {
            public native int size();
            public native OnnxValue get(int index);
            public native void close(); } }""",
    "org.pytorch.executorch.Tensor": """public abstract class Tensor {
        public static native Tensor fromBlob(float[] data, long[] shape);
        public native float[] getDataAsFloatArray(); }""",
    "org.pytorch.executorch.EValue": """public class EValue {
        public static native EValue from(Tensor tensor);
        public native Tensor toTensor(); }""",
    "org.pytorch.executorch.Module": """public class Module {
        public static native Module load(String path);
        public native EValue[] forward(EValue... inputs);
        public native void destroy(); }""",
}

KOTLIN = {
    "androidx.activity": """import android.app.Activity
        import androidx.activity.result.ActivityResultCallback
        import androidx.activity.result.ActivityResultLauncher
        import androidx.activity.result.contract.ActivityResultContract
        abstract class ComponentActivity : Activity() {
            external fun <I, O> registerForActivityResult(contract: ActivityResultContract<I, O>,
                callback: ActivityResultCallback<O>): ActivityResultLauncher<I> }""",
    "androidx.activity.result": """import androidx.activity.result.contract.ActivityResultContracts
        fun interface ActivityResultCallback<O> { fun onActivityResult(result: O) }
        abstract class ActivityResultLauncher<I> { external fun launch(input: I) }
        class PickVisualMediaRequest(
            type: ActivityResultContracts.PickVisualMedia.VisualMediaType)""",
    "androidx.activity.result.contract": """import android.net.Uri
        import androidx.activity.result.PickVisualMediaRequest
        abstract class ActivityResultContract<I, O>
        class ActivityResultContracts private constructor() {
            open class PickVisualMedia : ActivityResultContract<PickVisualMediaRequest, Uri?>() {
                sealed interface VisualMediaType
                object ImageOnly : VisualMediaType } }""",
}

package org.secateur.faces

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import android.content.Context
import android.graphics.Bitmap
import java.io.File
import java.nio.FloatBuffer
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

/** Finds faces on bitmaps; what runs the network is up to the file. */
abstract class FaceDetector(private val description: Description) : AutoCloseable {
    val name = description.name

    /** Raw outputs of an input (1, 3, rows, columns), in the order of the file. */
    protected abstract fun run(input: FloatArray, rows: Int, columns: Int): Array<FloatArray>

    /** Faces of at least a score, in pixels of the bitmap. */
    fun detect(bitmap: Bitmap, minScore: Float = 0.5f): List<Face> {
        val pixels = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        val preprocessing = description.preprocessing
        val rows = preprocessing.padded(bitmap.height)
        val columns = preprocessing.padded(bitmap.width)
        val input = preprocessing.toInput(pixels, bitmap.width, bitmap.height)
        return description.decoder.decode(run(input, rows, columns), rows, columns)
            .filter { it.score >= minScore }
    }

    companion object {
        /** The network in the assets: model.onnx or model.pte, and the JSON of the same name. */
        fun fromAssets(context: Context): FaceDetector {
            val file = context.assets.list("")?.firstOrNull { it == "model.onnx" || it == "model.pte" }
                ?: error("copy model.onnx or model.pte, and its JSON, to app/src/main/assets")
            val text = context.assets.open("$file.json").bufferedReader().use { it.readText() }
            val description = Description(text)
            if (file.endsWith(".onnx")) {
                val bytes = context.assets.open(file).use { it.readBytes() }
                return OnnxDetector(bytes, description)
            }
            val copy = File(context.filesDir, file) // ExecuTorch maps a file, not an asset
            context.assets.open(file).use { from -> copy.outputStream().use { from.copyTo(it) } }
            return ExecutorchDetector(copy, description)
        }
    }
}

class OnnxDetector(model: ByteArray, description: Description) : FaceDetector(description) {
    private val environment = OrtEnvironment.getEnvironment()
    private val session: OrtSession = environment.createSession(model)

    override fun run(input: FloatArray, rows: Int, columns: Int): Array<FloatArray> {
        val shape = longArrayOf(1, 3, rows.toLong(), columns.toLong())
        OnnxTensor.createTensor(environment, FloatBuffer.wrap(input), shape).use { tensor ->
            session.run(mapOf(session.inputNames.first() to tensor)).use { found ->
                return Array(found.size()) { floats(found[it] as OnnxTensor) }
            }
        }
    }

    private fun floats(tensor: OnnxTensor): FloatArray {
        val buffer = tensor.floatBuffer
        return FloatArray(buffer.remaining()).also { buffer.get(it) }
    }

    override fun close() = session.close()
}

class ExecutorchDetector(model: File, description: Description) : FaceDetector(description) {
    private val module: Module = Module.load(model.path)

    override fun run(input: FloatArray, rows: Int, columns: Int): Array<FloatArray> {
        val shape = longArrayOf(1, 3, rows.toLong(), columns.toLong())
        val found = module.forward(EValue.from(Tensor.fromBlob(input, shape)))
        return Array(found.size) { found[it].toTensor().dataAsFloatArray }
    }

    override fun close() = module.destroy()
}

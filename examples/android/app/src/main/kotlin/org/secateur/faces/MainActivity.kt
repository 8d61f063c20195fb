package org.secateur.faces

import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.ImageDecoder
import android.graphics.Paint
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.widget.Button
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import java.util.concurrent.Executors

/** A picture of the gallery with boxes around its faces. */
class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor()
    private val detector by lazy { FaceDetector.fromAssets(this) }
    private lateinit var picture: ImageView
    private lateinit var report: TextView

    private val pick = registerForActivityResult(PickVisualMedia()) { uri: Uri? ->
        if (uri != null) worker.execute { detect(uri) }
    }

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        picture = ImageView(this).apply { adjustViewBounds = true }
        report = TextView(this)
        val button = Button(this).apply {
            text = "Choose a picture"
            setOnClickListener { pick.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly)) }
        }
        val column = LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            fitsSystemWindows = true
            listOf(button, report, picture).forEach { addView(it) }
        }
        setContentView(column)
    }

    override fun onDestroy() {
        worker.execute { detector.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun detect(uri: Uri) {
        try {
            val bitmap = smaller(read(uri))
            val began = System.nanoTime()
            val faces = detector.detect(bitmap)
            val milliseconds = (System.nanoTime() - began) / 1_000_000
            val drawn = draw(bitmap, faces)
            runOnUiThread {
                picture.setImageBitmap(drawn)
                report.text = "${faces.size} faces in $milliseconds ms by ${detector.name}"
            }
        } catch (error: Exception) {
            runOnUiThread { report.text = error.message }
        }
    }

    /** A picture upright, as pixels that can be read. */
    private fun read(uri: Uri): Bitmap {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.P) {
            @Suppress("DEPRECATION")
            return MediaStore.Images.Media.getBitmap(contentResolver, uri)
        }
        val source = ImageDecoder.createSource(contentResolver, uri)
        return ImageDecoder.decodeBitmap(source) { decoder, _, _ ->
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
        }
    }

    private fun smaller(bitmap: Bitmap): Bitmap {
        val scale = LONGEST_SIDE.toFloat() / maxOf(bitmap.width, bitmap.height)
        if (scale >= 1) return bitmap
        val width = (bitmap.width * scale).toInt()
        val height = (bitmap.height * scale).toInt()
        return Bitmap.createScaledBitmap(bitmap, width, height, true)
    }

    private fun draw(bitmap: Bitmap, faces: List<Face>): Bitmap {
        val drawn = bitmap.copy(Bitmap.Config.ARGB_8888, true)
        val canvas = Canvas(drawn)
        val paint = Paint(Paint.ANTI_ALIAS_FLAG).apply {
            style = Paint.Style.STROKE
            color = Color.GREEN
            strokeWidth = maxOf(2f, bitmap.width / 300f)
        }
        for (face in faces) canvas.drawRect(face.x1, face.y1, face.x2, face.y2, paint)
        return drawn
    }

    private companion object {
        const val LONGEST_SIDE = 1280
    }
}

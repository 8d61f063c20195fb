package org.secateur.faces

import org.json.JSONArray
import org.json.JSONObject

/** What export.py says about a file: the JSON beside it, which lies in the assets too. */
class Description(text: String) {
    private val json = JSONObject(text)

    val name: String = json.getString("name")
    val preprocessing: Preprocessing
    val decoder: FaceDecoder

    init {
        require(json.getString("format") == "secateur-export" && json.getInt("version") == 1) {
            "this is no description that export.py wrote"
        }
        require(json.getString("task") == "detection" && !json.isNull("anchors")) {
            "$name is no detector with anchors"
        }
        val pixels = json.getJSONObject("pixels")
        require(pixels.getString("type") == "float32") {
            "$name decodes by itself: export it with postprocess=false"
        }
        preprocessing = Preprocessing(
            pixels.getString("order"),
            pixels.getJSONArray("mean").toFloats(),
            pixels.getJSONArray("scale").toFloats(),
            pixels.getInt("multiple"),
        )
        val anchors = json.getJSONObject("anchors")
        val limits = json.getJSONObject("suppression")
        decoder = FaceDecoder(
            anchors.getJSONArray("cell_strides").toFloats().map { it.toInt() }.toIntArray(),
            anchors.getJSONArray("strides").toFloats(),
            anchors.getJSONArray("sizes").toFloats(),
            anchors.getDouble("ratio").toFloat(),
            anchors.getJSONArray("variance").toFloats(),
            limits.getDouble("score_threshold").toFloat(),
            limits.getDouble("iou_threshold").toFloat(),
            limits.getInt("max_candidates"),
            limits.getInt("max_faces"),
        )
    }
}

private fun JSONArray.toFloats() = FloatArray(length()) { getDouble(it).toFloat() }

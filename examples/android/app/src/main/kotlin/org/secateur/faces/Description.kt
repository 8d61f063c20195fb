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
        require(json.getString("task") == "detection") { "$name is no detector" }
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
        val limits = json.getJSONObject("suppression")
        val suppression = Suppression(
            limits.getDouble("score_threshold").toFloat(),
            limits.getDouble("iou_threshold").toFloat(),
            limits.getInt("max_candidates"),
            limits.getInt("max_faces"),
        )
        decoder = when {
            !json.isNull("anchors") -> anchorDecoder(json.getJSONObject("anchors"), suppression)
            !json.isNull("points") -> pointDecoder(json.getJSONObject("points"), suppression)
            else -> error("$name has outputs that this app does not know")
        }
    }
}

private fun anchorDecoder(anchors: JSONObject, suppression: Suppression) = AnchorDecoder(
    anchors.getJSONArray("cell_strides").toInts(),
    anchors.getJSONArray("strides").toFloats(),
    anchors.getJSONArray("sizes").toFloats(),
    anchors.getDouble("ratio").toFloat(),
    anchors.getJSONArray("variance").toFloats(),
    suppression,
)

private fun pointDecoder(points: JSONObject, suppression: Suppression) =
    PointDecoder(points.getJSONArray("strides").toInts(), points.getBoolean("root"), suppression)

private fun JSONArray.toInts() = IntArray(length()) { getInt(it) }

private fun JSONArray.toFloats() = FloatArray(length()) { getDouble(it).toFloat() }

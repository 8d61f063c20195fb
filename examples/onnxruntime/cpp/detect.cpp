// Faces of a picture from an exported file, with the C++ interface of ONNX Runtime alone.
//
//     detect model.onnx photo.ppm ...
//
// Everything that the network needs to know about pictures is in the metadata of the file.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <numeric>

#include "json.hpp"

struct Picture {
    int width = 0, height = 0;
    std::vector<uint8_t> rgb;  // rows, columns, channels
};

struct Face {
    float x1, y1, x2, y2, score;  // pixels
};

// A binary PPM file, which every program for pictures writes.
Picture read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string magic;
    Picture picture;
    int largest = 0;
    file >> magic >> picture.width >> picture.height >> largest;
    file.get();
    if (!file || magic != "P6" || largest != 255 || picture.width < 1 || picture.height < 1 ||
        picture.width > 65535 || picture.height > 65535)
        throw std::runtime_error(path + " is no binary PPM file of 8 bits: convert the picture");
    picture.rgb.resize(size_t(picture.width) * picture.height * 3);
    if (!file.read(reinterpret_cast<char*>(picture.rgb.data()), picture.rgb.size()))
        throw std::runtime_error(path + " ends early");
    return picture;
}

// (1, 3, H, W): the mean subtracted, divided by the scale, black added at the right and bottom.
std::vector<float> preprocess(const Picture& picture, const Json& pixels, int& height, int& width) {
    const int multiple = int(pixels["multiple"].number);
    const bool reversed = pixels["order"].text == "bgr";
    const auto mean = pixels["mean"].numbers(), scale = pixels["scale"].numbers();
    height = (picture.height + multiple - 1) / multiple * multiple;
    width = (picture.width + multiple - 1) / multiple * multiple;
    std::vector<float> image(size_t(3) * height * width);
    for (int channel = 0; channel < 3; ++channel) {
        float* plane = image.data() + size_t(reversed ? 2 - channel : channel) * height * width;
        const float factor = 1 / scale[channel];
        std::fill(plane, plane + size_t(height) * width, -mean[channel] * factor);
        for (int y = 0; y < picture.height; ++y)
            for (int x = 0; x < picture.width; ++x) {
                const uint8_t value = picture.rgb[(size_t(y) * picture.width + x) * 3 + channel];
                plane[size_t(y) * width + x] = (value - mean[channel]) * factor;
            }
    }
    return image;
}

struct Anchor {
    float x, y, width, height;  // center and size in pixels
};

// Anchors of all levels in order, rows first.
std::vector<Anchor> make_anchors(const Json& layout, int height, int width) {
    const auto cells = layout["cell_strides"].numbers(), strides = layout["strides"].numbers();
    const auto sizes = layout["sizes"].numbers();
    const float ratio = float(layout["ratio"].number);
    std::vector<Anchor> anchors;
    for (size_t level = 0; level < cells.size(); ++level) {
        const int cell = int(cells[level]);
        for (int row = 0; row < (height + cell - 1) / cell; ++row)
            for (int column = 0; column < (width + cell - 1) / cell; ++column)
                anchors.push_back({(column + 0.5f) * strides[level], (row + 0.5f) * strides[level],
                                   sizes[level], sizes[level] * ratio});
    }
    return anchors;
}

float overlap(const Face& a, const Face& b) {
    const float width = std::max(0.0f, std::min(a.x2, b.x2) - std::max(a.x1, b.x1));
    const float height = std::max(0.0f, std::min(a.y2, b.y2) - std::max(a.y1, b.y1));
    const float shared = width * height;
    return shared / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - shared);
}

float sigmoid(float logit) { return 1 / (1 + std::exp(-logit)); }

// A face for every anchor of a higher score: from offsets (N, 4) and logits (N, 2).
std::vector<Face> decode_anchors(const float* locations, const float* logits, size_t count,
                                 const Json& layout, float threshold, int height, int width) {
    const auto anchors = make_anchors(layout, height, width);
    if (anchors.size() != count) throw std::runtime_error("the outputs do not fit the anchors");
    const auto variance = layout["variance"].numbers();
    std::vector<Face> faces;
    for (size_t i = 0; i < count; ++i) {
        const float score = sigmoid(logits[2 * i + 1] - logits[2 * i]);
        if (score <= threshold) continue;
        const Anchor& anchor = anchors[i];
        const float* offset = locations + 4 * i;
        const float x = anchor.x + offset[0] * variance[0] * anchor.width;
        const float y = anchor.y + offset[1] * variance[0] * anchor.height;
        const float w = anchor.width * std::exp(std::min(offset[2] * variance[1], 16.0f));
        const float h = anchor.height * std::exp(std::min(offset[3] * variance[1], 16.0f));
        faces.push_back({x - w / 2, y - h / 2, x + w / 2, y + h / 2, score});
    }
    return faces;
}

// A face for every cell of a higher score, of detectors without anchors such as YuNet: from logits
// of class and objectness (N) and offsets (N, 4).
std::vector<Face> decode_points(const float* classes, const float* offsets, const float* objects,
                                size_t count, const Json& layout, float threshold, int height,
                                int width) {
    const bool root = layout["root"].number != 0;
    std::vector<Face> faces;
    size_t i = 0;
    for (const double stride : layout["strides"].numbers())
        for (int row = 0; row < height / int(stride); ++row)
            for (int column = 0; column < width / int(stride); ++column, ++i) {
                if (i >= count) throw std::runtime_error("the outputs do not fit the cells");
                const float product = sigmoid(classes[i]) * sigmoid(objects[i]);
                const float score = root ? std::sqrt(product) : product;
                if (score <= threshold) continue;
                const float* offset = offsets + 4 * i;
                const float x = (column + offset[0]) * stride, y = (row + offset[1]) * stride;
                const float w = std::exp(std::min(offset[2], 16.0f)) * stride;
                const float h = std::exp(std::min(offset[3], 16.0f)) * stride;
                faces.push_back({x - w / 2, y - h / 2, x + w / 2, y + h / 2, score});
            }
    if (i != count) throw std::runtime_error("the outputs do not fit the cells");
    return faces;
}

// What no better face overlaps, the surest first.
std::vector<Face> suppress(std::vector<Face> found, const Json& limits) {
    std::stable_sort(found.begin(), found.end(),
                     [](const Face& a, const Face& b) { return a.score > b.score; });
    const size_t candidates = size_t(limits["max_candidates"].number);
    if (candidates && found.size() > candidates) found.resize(candidates);
    const float threshold = float(limits["iou_threshold"].number);
    std::vector<Face> faces;
    for (const Face& face : found) {
        const bool is_new = std::none_of(faces.begin(), faces.end(), [&](const Face& better) {
            return overlap(better, face) > threshold;
        });
        if (is_new) faces.push_back(face);
        if (faces.size() == size_t(limits["max_faces"].number)) break;
    }
    return faces;
}

class Detector {
public:
    explicit Detector(const std::string& path) : session_(environment_, path.c_str(), options()) {
        Ort::AllocatorWithDefaultOptions allocator;
        auto text = session_.GetModelMetadata().LookupCustomMetadataMapAllocated("secateur", allocator);
        if (!text) throw std::runtime_error(path + " was not written by export.py");
        const std::string description(text.get());
        description_ = JsonReader(description).read();
        if (description_["task"].text != "detection" ||
            (description_["anchors"].kind == Json::Null &&
             description_["points"].kind == Json::Null &&
             !description_["suppression"]["inside"].number))
            throw std::runtime_error(path + " is no detector whose outputs are known here");
        input_ = session_.GetInputNameAllocated(0, allocator).get();
        for (size_t i = 0; i < session_.GetOutputCount(); ++i)
            outputs_.push_back(session_.GetOutputNameAllocated(i, allocator).get());
    }

    std::vector<Face> operator()(const Picture& picture) {
        auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const bool bytes = description_["pixels"]["type"].text == "uint8";
        int height = picture.height, width = picture.width;
        std::vector<float> image;
        Ort::Value input{nullptr};
        if (bytes) {
            const std::array<int64_t, 4> shape{1, height, width, 3};
            input = Ort::Value::CreateTensor<uint8_t>(
                memory, const_cast<uint8_t*>(picture.rgb.data()), picture.rgb.size(),
                shape.data(), shape.size());
        } else {
            image = preprocess(picture, description_["pixels"], height, width);
            const std::array<int64_t, 4> shape{1, 3, height, width};
            input = Ort::Value::CreateTensor<float>(memory, image.data(), image.size(),
                                                    shape.data(), shape.size());
        }
        const char* name = input_.c_str();
        std::vector<const char*> names;
        for (const auto& output : outputs_) names.push_back(output.c_str());
        auto found = session_.Run(Ort::RunOptions{nullptr}, &name, &input, 1, names.data(),
                                  names.size());
        const float* first = found[0].GetTensorData<float>();
        const auto shape = found[0].GetTensorTypeAndShapeInfo().GetShape();
        const Json& limits = description_["suppression"];
        if (!limits["inside"].number) {
            const size_t count = size_t(shape[1]);
            const float threshold = float(limits["score_threshold"].number);
            const float* second = found[1].GetTensorData<float>();
            const Json& anchors = description_["anchors"];
            return suppress(
                anchors.kind != Json::Null
                    ? decode_anchors(first, second, count, anchors, threshold, height, width)
                    : decode_points(first, second, found.at(2).GetTensorData<float>(), count,
                                    description_["points"], threshold, height, width),
                limits);
        }
        std::vector<Face> faces;
        for (int64_t i = 0; i < shape[0]; ++i, first += 5)
            faces.push_back({first[0], first[1], first[2], first[3], first[4]});
        return faces;
    }

private:
    static Ort::SessionOptions options() {
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(1);
        return options;
    }

    Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR, "detect"};
    Ort::Session session_;
    Json description_;
    std::string input_;
    std::vector<std::string> outputs_;
};

int main(int argc, char** argv) {
    if (argc < 3) {
        std::cerr << "detect model.onnx photo.ppm ...\n";
        return 2;
    }
    try {
        Detector detector(argv[1]);
        for (int i = 2; i < argc; ++i) {
            std::printf("%s\n", argv[i]);
            for (const Face& face : detector(read_ppm(argv[i])))
                if (face.score >= 0.5f)
                    std::printf("%.2f %.2f %.2f %.2f %.4f\n", face.x1, face.y1, face.x2, face.y2,
                                face.score);
        }
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << "\n";
        return 2;
    }
}

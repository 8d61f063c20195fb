// A reader of JSON, as much of it as the description of an exported network needs.
#pragma once

#include <cctype>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Json {
    enum Kind { Null, Bool, Number, Text, List, Map } kind = Null;
    double number = 0;  // of Number, and 0 or 1 of Bool
    std::string text;
    std::vector<Json> list;
    std::map<std::string, Json> map;

    const Json& operator[](const std::string& key) const {
        auto found = map.find(key);
        if (found == map.end()) throw std::runtime_error("the description has no " + key);
        return found->second;
    }
    std::vector<float> numbers() const {
        std::vector<float> values;
        for (const Json& item : list) values.push_back(static_cast<float>(item.number));
        return values;
    }
};

class JsonReader {
public:
    explicit JsonReader(const std::string& text) : text_(text) {}

    Json read() {
        Json value = value_at(0);
        skip();
        if (at_ != text_.size()) fail();
        return value;
    }

private:
    static constexpr int kDeepest = 32;
    const std::string& text_;
    size_t at_ = 0;

    [[noreturn]] void fail() const {
        throw std::runtime_error("the description is no JSON at character " + std::to_string(at_));
    }
    void skip() {
        while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    }
    char peek() {
        skip();
        if (at_ == text_.size()) fail();
        return text_[at_];
    }
    void expect(char wanted) {
        if (peek() != wanted) fail();
        ++at_;
    }
    Json word(const std::string& name, Json::Kind kind, double number) {
        if (text_.compare(at_, name.size(), name) != 0) fail();
        at_ += name.size();
        Json value;
        value.kind = kind;
        value.number = number;
        return value;
    }

    Json value_at(int depth) {
        if (depth > kDeepest) fail();
        Json value;
        switch (peek()) {
            case '{':
                value.kind = Json::Map;
                ++at_;
                while (peek() != '}') {
                    if (!value.map.empty()) expect(',');
                    peek();
                    std::string key = string();
                    expect(':');
                    value.map[key] = value_at(depth + 1);
                }
                ++at_;
                return value;
            case '[':
                value.kind = Json::List;
                ++at_;
                while (peek() != ']') {
                    if (!value.list.empty()) expect(',');
                    value.list.push_back(value_at(depth + 1));
                }
                ++at_;
                return value;
            case '"':
                value.kind = Json::Text;
                value.text = string();
                return value;
            case 't': return word("true", Json::Bool, 1);
            case 'f': return word("false", Json::Bool, 0);
            case 'n': return word("null", Json::Null, 0);
        }
        const char* begin = text_.c_str() + at_;
        char* end = nullptr;
        value.kind = Json::Number;
        value.number = std::strtod(begin, &end);
        if (end == begin) fail();
        at_ += static_cast<size_t>(end - begin);
        return value;
    }

    // Escapes beyond those of one character stay as they are: no key or name holds one.
    std::string string() {
        if (at_ >= text_.size() || text_[at_] != '"') fail();
        std::string value;
        for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
            if (text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] != 'u') ++at_;
            value += text_[at_];
        }
        if (at_ == text_.size()) fail();
        ++at_;
        return value;
    }
};

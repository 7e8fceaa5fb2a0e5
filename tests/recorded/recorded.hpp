// Reads the operator cases recorded from PyTorch (README.md beside this file describes them).
//
//   for (const recorded::Case& c : recorded::load_cases("tests/recorded"))
//     if (c.op == "softplus") check(c, softplus(tensor(c.at("input")), c.attr("beta", 1.0), c.attr("threshold", 20.0)));
#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>

#include <gradus/core/error.hpp>
#include <gradus/core/shape.hpp>

namespace gradus::recorded {

/// An input or output. Integers and booleans (0, 1) are exact in double; the recorded ones stay far below 2^53.
struct Array {
  std::string name;   // PyTorch's keyword for an input, empty for an output
  Shape shape;
  std::string dtype;  // "float64", "int64" or "bool"
  std::vector<double> data;
  bool requires_grad = false;
};

/// A number, or one of the strings "inf", "-inf", "nan" that stand for what JSON cannot write.
inline double number(const nlohmann::json& j) {
  if (!j.is_string()) return j.get<double>();
  const std::string& s = j.get_ref<const std::string&>();
  if (s == "inf") return std::numeric_limits<double>::infinity();
  if (s == "-inf") return -std::numeric_limits<double>::infinity();
  if (s == "nan") return std::numeric_limits<double>::quiet_NaN();
  fail("recorded::number", "not a number", {{"text", s}}, "\"inf\", \"-inf\" or \"nan\"", Where::current());
}

struct Case {
  std::string file, name, op, note;  // note: what is computed, where op is not one PyTorch function of the inputs
  nlohmann::json attrs;              // keyword -> value; an attribute left out has PyTorch's default
  bool smooth = true;                // false: at a kink or tie the gradient is PyTorch's choice
  std::vector<Array> inputs, outputs;
  // d(sum over outputs of <cotangent, output>) / d input; null for outputs and inputs without a gradient
  std::vector<std::optional<std::vector<double>>> cotangents, grads;

  bool has_grads() const {
    return std::any_of(grads.begin(), grads.end(), [](const auto& g) { return g.has_value(); });
  }

  /// The input of that name, nullptr when the case has none (an optional argument such as `bias`).
  const Array* find(std::string_view input) const {
    for (const Array& a : inputs)
      if (a.name == input) return &a;
    return nullptr;
  }

  const Array& at(std::string_view input, Where at = Where::current()) const {
    if (const Array* a = find(input)) return *a;
    std::string names;
    for (const Array& a : inputs) names += (names.empty() ? "" : ", ") + a.name;
    fail("recorded::Case::at", "no such input", {{"case", name}, {"asked for", std::string(input)}}, "one of " + names, at);
  }

  bool has(const std::string& key) const { return attrs.contains(key); }

  /// attrs[key], or `otherwise` when the case does not name it. Reads "inf" and "nan" as numbers.
  template <class T>
  T attr(const std::string& key, T otherwise) const {
    const auto it = attrs.find(key);
    if (it == attrs.end() || it->is_null()) return otherwise;
    if constexpr (std::is_same_v<T, double>) return number(*it);
    else return it->template get<T>();
  }
  std::string attr(const std::string& key, const char* otherwise) const { return attr(key, std::string(otherwise)); }

  /// An attribute that is one integer or a list of them (`dim`, `stride`): always a list; n copies of a lone integer.
  std::vector<int64_t> ints(const std::string& key, std::vector<int64_t> otherwise = {}, int n = 1) const {
    const auto it = attrs.find(key);
    if (it == attrs.end() || it->is_null()) return otherwise;
    if (it->is_array()) return it->get<std::vector<int64_t>>();
    return std::vector<int64_t>(static_cast<std::size_t>(n), it->get<int64_t>());
  }
};

namespace detail {

inline std::vector<double> numbers(const nlohmann::json& j) {
  std::vector<double> out;
  out.reserve(j.size());
  for (const auto& x : j) out.push_back(number(x));
  return out;
}

inline std::vector<std::optional<std::vector<double>>> numbers_or_null(const nlohmann::json& j) {
  std::vector<std::optional<std::vector<double>>> out;
  for (const auto& x : j) out.push_back(x.is_null() ? std::nullopt : std::optional(numbers(x)));
  return out;
}

inline void check(bool ok, const Case& c, std::string_view problem) {
  if (ok) return;
  fail("recorded::load_cases", problem, {{"file", c.file}, {"case", c.name}}, "a file that record.py wrote", Where::current());
}

inline Array array(const nlohmann::json& j, const Case& c) {
  Array a;
  a.name = j.value("name", "");
  a.shape = Shape(j.at("shape").get<std::vector<int64_t>>());
  a.dtype = j.at("dtype").get<std::string>();
  a.data = numbers(j.at("data"));
  a.requires_grad = j.value("requires_grad", false);
  check(a.shape.numel() == static_cast<int64_t>(a.data.size()), c, "data does not fill the shape");
  return a;
}

// Gradients belong to `arrays` one by one and have their sizes.
inline void check_sizes(const std::vector<std::optional<std::vector<double>>>& g, const std::vector<Array>& arrays,
                        const Case& c) {
  check(g.size() == arrays.size(), c, "one gradient or null for each array expected");
  for (std::size_t i = 0; i < g.size(); ++i)
    check(!g[i] || g[i]->size() == arrays[i].data.size(), c, "a gradient of another size");
}

inline Case one_case(const nlohmann::json& j, const std::string& file) {
  Case c;
  c.file = file;
  c.name = j.at("name").get<std::string>();
  c.op = j.at("op").get<std::string>();
  c.note = j.value("note", "");
  c.attrs = j.at("attrs");
  c.smooth = j.value("smooth", true);
  for (const auto& a : j.at("inputs")) c.inputs.push_back(array(a, c));
  for (const auto& a : j.at("outputs")) c.outputs.push_back(array(a, c));
  c.cotangents = numbers_or_null(j.at("cotangents"));
  c.grads = numbers_or_null(j.at("grads"));
  check_sizes(c.cotangents, c.outputs, c);
  check_sizes(c.grads, c.inputs, c);
  return c;
}

}  // namespace detail

/// The cases of one file, or of all *.json of a folder in the order of their names.
inline std::vector<Case> load_cases(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> files{path};
  if (std::filesystem::is_directory(path)) {
    files.clear();
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
  }
  std::vector<Case> cases;
  for (const auto& file : files) {
    std::ifstream in(file);
    if (!in) fail("recorded::load_cases", "cannot open", {{"file", file.string()}}, "a readable file", Where::current());
    try {
      const nlohmann::json document = nlohmann::json::parse(in);
      for (const auto& j : document.at("cases")) cases.push_back(detail::one_case(j, file.filename().string()));
    } catch (const nlohmann::json::exception& e) {
      fail("recorded::load_cases", e.what(), {{"file", file.string()}}, "a file as record.py writes it", Where::current());
    }
  }
  if (cases.empty()) fail("recorded::load_cases", "no cases", {{"path", path.string()}}, "*.json files", Where::current());
  return cases;
}

}  // namespace gradus::recorded

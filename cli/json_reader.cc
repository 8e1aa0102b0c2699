#include "cli/json_reader.h"

#include <istream>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mptd::cli {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 16;
constexpr char kList[] = "blocks";

// "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while ..." without its first two
// parts.
std::string Reason(const json::exception& error) {
  constexpr size_t kMost = 160;
  std::string text = error.what();
  const size_t column = text.find(", column ");
  const size_t colon = text.find(": ", column == std::string::npos ? 0 : column);
  if (colon != std::string::npos) text.erase(0, colon + 2);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

// Builds the tree of one top-level value. With a sink, the elements of the list of blocks are handed out and forgotten.
class PartBuilder final : public nlohmann::json_sax<json> {
 public:
  using ElementSink = std::function<absl::Status(json value, size_t index, bool in_blocks, size_t line)>;

  PartBuilder(std::function<size_t()> line, ElementSink sink) : line_(std::move(line)), sink_(std::move(sink)) {}

  json& root() { return root_; }
  // What made the reader stop: the sink's own error, or what is wrong with the text and where.
  absl::Status sink_status;
  std::string text_error;
  size_t error_line = 0;

  bool null() override { return Scalar(nullptr); }
  bool boolean(bool value) override { return Scalar(value); }
  bool number_integer(number_integer_t value) override { return Scalar(absl::StrCat(value)); }  // only negative ones
  bool number_unsigned(number_unsigned_t value) override { return Scalar(value); }
  bool number_float(number_float_t, const string_t& digits) override { return Scalar(digits); }
  bool string(string_t& value) override { return Scalar(std::move(value)); }
  bool binary(binary_t&) override { return Stop("binary data"); }
  bool start_object(std::size_t) override { return Open(json::object()); }
  bool start_array(std::size_t) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (stack_.back()->contains(name)) return Stop(absl::StrFormat("\"%s\" comes twice in one object", name));
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    return Stop(Reason(error));
  }

 private:
  bool Stop(std::string message) {
    text_error = std::move(message);
    error_line = line_();
    return false;
  }

  // True when the innermost open container is the list whose elements are handed out.
  bool InList() const {
    if (!sink_) return false;
    if (stack_.size() == 1) return root_.is_array();
    return stack_.size() == 2 && root_.is_object() && stack_.back()->is_array() && root_.contains(kList) &&
           &root_[kList] == stack_.back();
  }

  json* Place(json value) {
    if (stack_.empty()) return &(root_ = std::move(value));
    json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }

  bool Scalar(json value) {
    if (InList()) return Stop("the list of blocks holds something that is not an object");
    Place(std::move(value));
    return true;
  }

  bool Open(json container) {
    if (stack_.size() == kMaxDepth) return Stop(absl::StrFormat("nested deeper than %d levels", kMaxDepth));
    if (InList()) {
      if (!container.is_object()) return Stop("the list of blocks holds something that is not an object");
      element_line_ = line_();
    }
    stack_.push_back(Place(std::move(container)));
    return true;
  }

  bool Close() {
    stack_.pop_back();
    if (stack_.empty() || !InList()) return true;
    json element = std::move(stack_.back()->back());
    stack_.back()->erase(stack_.back()->size() - 1);
    sink_status = sink_(std::move(element), elements_++, stack_.size() == 2, element_line_);
    return sink_status.ok();
  }

  const std::function<size_t()> line_;
  const ElementSink sink_;
  json root_;
  std::vector<json*> stack_;  // open containers, outermost first; into root_
  std::string key_;
  size_t elements_ = 0;
  size_t element_line_ = 0;
};

std::string Where(const InputFile& input, size_t line) { return absl::StrCat(input.name(), ":", line); }

absl::Status Failure(const InputFile& input, const PartBuilder& builder) {
  if (!builder.sink_status.ok()) return builder.sink_status;
  if (!input.read_status().ok()) return input.read_status();
  return absl::InvalidArgumentError(
      absl::StrCat(Where(input, builder.error_line), ": not valid JSON here: ", builder.text_error));
}

// Moves to the next character that is not white space; false at the end.
bool SkipSpace(InputFile& input) {
  for (int c = input.sgetc(); c != std::char_traits<char>::eof(); c = input.snextc()) {
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return true;
  }
  return false;
}

}  // namespace

absl::Status ReadJsonParts(InputFile& input, const std::function<absl::Status(JsonPart)>& sink) {
  std::istream stream(&input);
  while (SkipSpace(input)) {
    const size_t first_line = input.Line();
    PartBuilder builder([&] { return input.Line(); },
                        [&](json value, size_t index, bool in_blocks, size_t line) {
                          return sink({.kind = JsonPart::Kind::kElement,
                                       .value = std::move(value),
                                       .where = Where(input, line),
                                       .path = absl::StrFormat("%s[%d]", in_blocks ? kList : "", index)});
                        });
    const bool parsed = json::sax_parse(stream, &builder, json::input_format_t::json, /*strict=*/false);
    if (!parsed) return Failure(input, builder);
    absl::Status status = sink({.kind = JsonPart::Kind::kDocument,
                                .value = std::move(builder.root()),
                                .where = Where(input, first_line),
                                .path = ""});
    if (!status.ok()) return status;
  }
  return input.read_status();
}

absl::StatusOr<json> ParseStrictJson(std::string_view text) {
  PartBuilder builder([] { return size_t{0}; }, nullptr);
  if (!json::sax_parse(text, &builder)) {
    return absl::InvalidArgumentError(absl::StrCat("not valid JSON: ", builder.text_error));
  }
  return std::move(builder.root());
}

}  // namespace mptd::cli

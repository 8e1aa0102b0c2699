// Aligned text for people. Not synchronised.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace mptd::cli {

// Columns under a heading. May be rendered in parts while rows come in: widths grow, they never shrink.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
    size_t min_width = 0;
  };

  explicit Table(std::vector<Column> columns);

  // As many cells as there are columns.
  void Add(std::vector<std::string> row);
  // The rows added since the last call, below the heading when it is the first call. Lines have no trailing spaces.
  std::string Render();

 private:
  void AppendLine(std::string& out, const std::vector<std::string>& cells) const;

  const std::vector<Column> columns_;
  std::vector<size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
  bool heading_done_ = false;
};

// "name   value" lines with the values aligned.
std::string FieldLines(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace mptd::cli

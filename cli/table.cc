#include "cli/table.h"

#include <algorithm>

namespace mptd::cli {

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (const Column& column : columns_) widths_.push_back(std::max(column.min_width, column.title.size()));
}

void Table::Add(std::vector<std::string> row) {
  row.resize(columns_.size());
  for (size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], row[i].size());
  rows_.push_back(std::move(row));
}

std::string Table::Render() {
  std::string out;
  if (!heading_done_) {
    std::vector<std::string> titles;
    for (const Column& column : columns_) titles.push_back(column.title);
    AppendLine(out, titles);
    heading_done_ = true;
  }
  for (const auto& row : rows_) AppendLine(out, row);
  rows_.clear();
  return out;
}

void Table::AppendLine(std::string& out, const std::vector<std::string>& cells) const {
  const size_t start = out.size();
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) out += "  ";
    const std::string padding(widths_[i] - cells[i].size(), ' ');
    out += columns_[i].align == Align::kRight ? padding + cells[i] : cells[i] + padding;
  }
  while (out.size() > start && out.back() == ' ') out.pop_back();
  out += '\n';
}

std::string FieldLines(const std::vector<std::pair<std::string, std::string>>& fields) {
  size_t width = 0;
  for (const auto& [name, value] : fields) width = std::max(width, name.size());
  std::string out;
  for (const auto& [name, value] : fields) {
    out += name;
    if (!value.empty()) out += std::string(width - name.size() + 2, ' ') + value;
    out += '\n';
  }
  return out;
}

}  // namespace mptd::cli

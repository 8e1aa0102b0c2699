// The figures of one run, in the order in which they were measured, as a table and as a JSON object.
// Not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mptd::bench {

class Report {
 public:
  // `name` is the key in JSON, `text` and `unit` what the table says.
  void Add(std::string_view name, std::string_view text, std::string_view unit, double value);
  void Add(std::string_view name, std::string_view text, std::string_view value);
  // Only in JSON: a series, for plots.
  void AddSeries(std::string_view name, const std::vector<double>& values);

  std::string Table() const;
  std::string Json() const;  // one line

 private:
  struct Figure {
    std::string name;
    std::string text;
    std::string unit;
    std::variant<double, std::string, std::vector<double>> value;
  };
  std::vector<Figure> figures_;
};

}  // namespace mptd::bench

#include "table.h"

#include <algorithm>

namespace handlefs::bench {
namespace {

std::string Clean(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '|') {
      out += '/';
    } else {
      out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
  }
  return out;
}

}  // namespace

std::string Table::Render() const {
  std::vector<size_t> widths(rows_[0].size(), 1);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < widths.size() && i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (size_t r = 0; r < rows_.size(); ++r) {
    text += "|";
    for (size_t i = 0; i < widths.size(); ++i) {
      std::string cell = i < rows_[r].size() ? Clean(rows_[r][i]) : "";
      cell.resize(std::max(widths[i], cell.size()), ' ');
      text += " " + cell + " |";
    }
    text += "\n";
    if (r != 0) continue;
    text += "|";
    for (size_t width : widths) text += std::string(width + 2, '-') + "|";
    text += "\n";
  }
  return text;
}

}  // namespace handlefs::bench

// A table that is Markdown and can be read as it is.
#ifndef HANDLEFS_TOOLS_BENCH_TABLE_H_
#define HANDLEFS_TOOLS_BENCH_TABLE_H_

#include <string>
#include <vector>

namespace handlefs::bench {

class Table {
 public:
  explicit Table(std::vector<std::string> head) : rows_{std::move(head)} {}
  // As many cells as the head has; bars and line ends in them are replaced.
  void Add(std::vector<std::string> cells) {
    rows_.push_back(std::move(cells));
  }
  size_t size() const { return rows_.size() - 1; }
  std::string Render() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_TABLE_H_

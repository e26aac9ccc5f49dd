// A directory that lives as long as a test.
#ifndef HANDLEFS_TEST_DAEMON_TEMPORARY_H_
#define HANDLEFS_TEST_DAEMON_TEMPORARY_H_

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace handlefs::test {

class Temporary {
 public:
  Temporary() {
    std::string pattern =
        std::filesystem::temp_directory_path() / "handlefs-test-XXXXXX";
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Temporary() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  std::string operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline void WriteAll(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_DAEMON_TEMPORARY_H_

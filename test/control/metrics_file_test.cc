// The metrics file: replaced whole, or not at all.
#include "daemon/control/metrics_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "support.h"

namespace handlefs::test {
namespace {

std::string TextOf(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

TEST_CASE("metrics file: tried and replaced", "[control]") {
  TempDir temp;
  const std::string path = temp / "x.prom";
  CHECK(TryReplaceFile(path).ok());
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(ReplaceFile(path, "one\n").ok());
  CHECK(TextOf(path) == "one\n");
  CHECK(TryReplaceFile(path).ok());
  CHECK(TextOf(path) == "one\n");
  CHECK(ReplaceFile(path, "two\n").ok());
  CHECK(TextOf(path) == "two\n");
  struct stat st;
  REQUIRE(stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0644);
  CHECK_FALSE(std::filesystem::exists(path + ".tmp"));
}

TEST_CASE("metrics file: where none can be", "[control]") {
  TempDir temp;
  CHECK(TryReplaceFile(temp / "none/x.prom").error() == Errno(ENOENT));
  CHECK(TryReplaceFile(temp / "").error() == Errno(EISDIR));
  CHECK(TryReplaceFile("/dev/null").error() == Errno(EINVAL));
  CHECK(TryReplaceFile("/proc/x.prom").error().value() != 0);
  // What was not written whole does not take the place of what is there.
  const std::string path = temp / "x.prom";
  REQUIRE(ReplaceFile(path, "good\n").ok());
  REQUIRE(symlink("/dev/full", (path + ".tmp").c_str()) == 0);
  CHECK_FALSE(ReplaceFile(path, "bad\n").ok());
  CHECK(TextOf(path) == "good\n");
}

TEST_CASE("metrics file: now and then, and in the end", "[control]") {
  TempDir temp;
  MetricsFile none("");
  none.Look([]() -> std::string {
    FAIL("nobody wants it");
    return "";
  });
  CHECK(none.next() == absl::InfiniteFuture());
  none.End([] { return std::string(); });

  const std::string path = temp / "x.prom";
  MetricsFile file(path);
  CHECK(file.next() == absl::InfinitePast());
  file.Look([] { return std::string("first\n"); });
  while (TextOf(path) != "first\n") usleep(1000);
  file.Look([] { return std::string("too early\n"); });
  file.End([] { return std::string("last\n"); });
  CHECK(TextOf(path) == "last\n");
}

}  // namespace
}  // namespace handlefs::test

// The messages of test/data: `.bin` were built by hand, `.hex` were recorded
// from a real kernel (lines with # say what they hold).
#ifndef HANDLEFS_TEST_UNIT_DATA_H_
#define HANDLEFS_TEST_UNIT_DATA_H_

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "bytes.h"

namespace handlefs::test {

inline std::string Slurp(const std::string& name) {
  std::ifstream file(HANDLEFS_TEST_DATA "/" + name, std::ios::binary);
  INFO(name);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline Wire Load(const std::string& name) {
  std::string text = Slurp(name);
  Wire wire;
  if (name.ends_with(".bin")) return wire.Append(text);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    for (unsigned byte; words >> std::hex >> byte;) wire.U8(wire.size(), byte);
  }
  return wire;
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_UNIT_DATA_H_

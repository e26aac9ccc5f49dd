// The fuzzers' corpora, of which no beginning and no single flipped bit may do
// harm: one good request of every row, all of which decode, and the compounds
// and their replies of test/data.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "compound_all.h"
#include "decode_all.h"

namespace handlefs::test {
namespace {

std::vector<std::string> Corpus(const std::string& name = "") {
  std::vector<std::string> all;
  for (const auto& entry :
       std::filesystem::directory_iterator(HANDLEFS_TEST_CORPUS + name)) {
    std::ifstream file(entry.path(), std::ios::binary);
    all.emplace_back(std::istreambuf_iterator<char>(file),
                     std::istreambuf_iterator<char>());
  }
  return all;
}

proto::Bytes AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST_CASE("the corpus has a good request of every row", "[corpus]") {
  std::vector<bool> seen(proto::kOpRows);
  for (const std::string& request : Corpus()) {
    auto raw = proto::Split(AsBytes(request), 16);
    REQUIRE(raw.ok());
    size_t row = proto::RowIndex(raw->header.opcode);
    REQUIRE(row < proto::kOpRows);
    seen[row] = true;
    std::string text = proto::DescribeRequest(*raw);
    CAPTURE(text);
    CHECK(text.find("malformed") == text.npos);
  }
  CHECK(std::count(seen.begin(), seen.end(), true) ==
        static_cast<ptrdiff_t>(proto::kOpRows));
}

TEST_CASE("the corpus, cut anywhere and flipped anywhere", "[corpus]") {
  for (const std::string& request : Corpus()) {
    for (size_t size = 0; size <= request.size(); ++size) {
      std::string cut = request.substr(0, size);
      DecodeAll(AsBytes(cut));
      ExtensionsAll(AsBytes(cut));
    }
    for (size_t bit = 0; bit < request.size() * 8; bit += 3) {
      std::string flipped = request;
      flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
      DecodeAll(AsBytes(flipped));
    }
  }
}

TEST_CASE("compounds of the corpus, cut and flipped anywhere", "[corpus]") {
  std::vector<std::string> corpus = Corpus("-compound");
  CHECK(corpus.size() >= 28);
  for (const std::string& body : corpus) {
    for (size_t size = 0; size <= body.size(); ++size) {
      std::string cut = body.substr(0, size);
      CompoundAll(AsBytes(cut));
    }
    for (size_t bit = 0; bit < body.size() * 8; bit += 3) {
      std::string flipped = body;
      flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
      CompoundAll(AsBytes(flipped));
    }
  }
}

}  // namespace
}  // namespace handlefs::test

// Node handles: what a kernel keeps and gives back, byte for byte.
#include "handles/node_handle.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "node_handle_all.h"

namespace handlefs {
namespace {

constexpr HashKey kKey = {1, 2};

HostHandle Host(size_t size) {
  HostHandle host;
  host.type = 0x81;
  host.size = static_cast<uint8_t>(size);
  for (size_t i = 0; i < size; ++i) host.bytes[i] = std::byte(i);
  return host;
}

TEST_CASE("node handles are what they were", "[node_handle]") {
  for (size_t size : {0, 1, 8, 12, 40, 112}) {
    NodeHandle handle =
        PackNodeHandle(kKey, NodeId{77}, {.fs = 5, .host = Host(size)});
    CHECK(handle.size == 16 + size);
    auto content = UnpackNodeHandle(kKey, NodeId{77}, handle.view());
    REQUIRE(content.ok());
    CHECK(content->fs == 5);
    REQUIRE(content->host);
    CHECK(*content->host == Host(size));
    // Byte-stable: a kernel compares them.
    NodeHandle again =
        PackNodeHandle(kKey, NodeId{77}, {.fs = 5, .host = Host(size)});
    CHECK(std::ranges::equal(again.view(), handle.view()));
  }
}

TEST_CASE("a host handle that does not fit", "[node_handle]") {
  for (size_t size : {113, 128}) {
    NodeHandle handle =
        PackNodeHandle(kKey, NodeId{77}, {.fs = 5, .host = Host(size)});
    CHECK(handle.size == 16);
    auto content = UnpackNodeHandle(kKey, NodeId{77}, handle.view());
    REQUIRE(content.ok());
    CHECK_FALSE(content->host);
  }
}

TEST_CASE("handles that nobody gave out are stale", "[node_handle]") {
  NodeHandle handle =
      PackNodeHandle(kKey, NodeId{77}, {.fs = 5, .host = Host(12)});
  auto stale = [](const HashKey& key, NodeId id,
                  std::span<const std::byte> bytes) {
    auto content = UnpackNodeHandle(key, id, bytes);
    return !content.ok() && content.error() == Errno(ESTALE);
  };
  CHECK(stale({1, 3}, NodeId{77}, handle.view()));
  CHECK(stale(kKey, NodeId{78}, handle.view()));
  for (size_t size = 0; size < handle.size; ++size) {
    CHECK(stale(kKey, NodeId{77}, handle.view().first(size)));
  }
  std::array<std::byte, 4096> longer{};
  std::ranges::copy(handle.view(), longer.begin());
  for (size_t size :
       {size_t{handle.size} + 1, size_t{128}, size_t{129}, longer.size()}) {
    CHECK(stale(kKey, NodeId{77}, std::span(longer).first(size)));
  }
}

TEST_CASE("the fuzzer's handles, cut and flipped", "[node_handle]") {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           HANDLEFS_TEST_FUZZ "/corpus-node-handle")) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::string bytes(std::istreambuf_iterator<char>(file), {});
    ++files;
    for (size_t size = 0; size <= bytes.size(); ++size) {
      test::NodeHandleAll(std::as_bytes(std::span(bytes).first(size))).Check();
    }
    for (size_t bit = 0; bit < bytes.size() * 8; bit += 7) {
      std::string flipped = bytes;
      flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
      test::NodeHandleAll(std::as_bytes(std::span(flipped))).Check();
    }
  }
  CHECK(files >= 7);
}

}  // namespace
}  // namespace handlefs

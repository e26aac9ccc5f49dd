// Replies as bytes.
#include <catch2/catch.hpp>
#include <limits>

#include "bytes.h"
#include "proto/reply.h"

namespace handlefs::proto {
namespace {

using test::Pattern;
using test::Wire;

bool Holds(const std::vector<std::byte>& buffer, const Wire& wire) {
  return buffer.size() >= wire.size() &&
         std::memcmp(buffer.data(), wire.raw().data(), wire.size()) == 0;
}

template <typename T>
T FromPattern() {
  T value;
  std::memcpy(&value, Pattern(sizeof(T)).raw().data(), sizeof(T));
  return value;
}

template <typename T>
void CheckPut() {
  std::vector<std::byte> buffer(sizeof(T) + 1, std::byte{0xee});
  ReplyBuffer out(buffer);
  CHECK(out.size() == 0);
  out.Put(FromPattern<T>());
  CHECK(out.size() == sizeof(T));
  CHECK(Holds(buffer, Pattern(sizeof(T)).U8(sizeof(T), 0xee)));
}

TEST_CASE("a reply's struct goes out byte by byte", "[reply]") {
  CheckPut<abi::EntryOut>();
  CheckPut<abi::AttrOut>();
  CheckPut<abi::StatxOut>();
  CheckPut<abi::OpenOut>();
  CheckPut<abi::CreateOut>();
  CheckPut<abi::WriteOut>();
  CheckPut<abi::StatfsOut>();
  CheckPut<abi::GetxattrOut>();
  CheckPut<abi::LkOut>();
  CheckPut<abi::InitOut>();
  CheckPut<abi::BmapOut>();
  CheckPut<abi::IoctlOut>();
  CheckPut<abi::PollOut>();
  CheckPut<abi::LseekOut>();
  CheckPut<abi::CopyFileRangeOut>();
}

TEST_CASE("an entry as the kernel reads it", "[reply]") {
  std::vector<std::byte> buffer(144);
  ReplyBuffer out(buffer);
  abi::CreateOut create{};
  create.entry.nodeid = 42;
  create.entry.generation = 7;
  create.entry.entry_valid = 1;
  create.entry.attr_valid = 2;
  create.entry.entry_valid_nsec = 500000000;
  create.entry.attr_valid_nsec = 250000000;
  create.entry.attr.ino = 17;
  create.entry.attr.size = 5;
  create.entry.attr.mode = 0100644;
  create.entry.attr.nlink = 1;
  create.entry.attr.blksize = 4096;
  create.open.fh = 3;
  create.open.open_flags = 0x80;
  create.open.backing_id = 9;
  out.Put(create);
  Wire wire(144);
  wire.U64(0, 42).U64(8, 7).U64(16, 1).U64(24, 2);
  wire.U32(32, 500000000).U32(36, 250000000);
  // The attributes begin at 40.
  wire.U64(40, 17).U64(48, 5).U32(100, 0100644).U32(104, 1).U32(120, 4096);
  wire.U64(128, 3).U32(136, 0x80).U32(140, 9);
  CHECK(Holds(buffer, wire));
}

TEST_CASE("the space shrinks by what was put, used and cleared", "[reply]") {
  std::vector<std::byte> buffer(100);
  ReplyBuffer out(buffer);
  CHECK(out.capacity() == 100);
  CHECK(out.Space().size() == 100);
  out.Put(uint64_t{1});
  CHECK(out.Space().data() == buffer.data() + 8);
  out.Use(12);
  CHECK(out.size() == 20);
  CHECK(out.Space().size() == 80);
  out.Clear();
  CHECK(out.size() == 0);
  CHECK(out.capacity() == 100);
}

TEST_CASE("the out header", "[reply]") {
  Wire wire(16);
  wire.U32(0, 16 + 128).U32(4, 0).U64(8, 0x8000000000000012);
  abi::OutHeader header = MakeOutHeader(Unique{0x8000000000000012}, 128);
  CHECK(std::memcmp(&header, wire.raw().data(), 16) == 0);

  wire.U32(0, 16).U32(4, 0xfffffffe).U64(8, 12);
  header = MakeErrorHeader(Unique{12}, Errno(ENOENT));
  CHECK(std::memcmp(&header, wire.raw().data(), 16) == 0);
}

TEST_CASE("every error becomes one that the kernel takes", "[reply]") {
  for (int value = 1; value < 5000; ++value) {
    int32_t wire = WireError(Errno(value));
    CAPTURE(value);
    CHECK(wire == (value < 512 ? -value : -EIO));
    CHECK(MakeErrorHeader(Unique{2}, Errno(value)).error == wire);
    CHECK(MakeErrorHeader(Unique{2}, Errno(value)).len == 16);
  }
  // 512 is ERESTARTSYS, 524 is ENOTSUPP: never seen outside the kernel.
  for (int value : {512, 524, 0x7000, std::numeric_limits<int>::max(), 0, -1,
                    -ENOENT, std::numeric_limits<int>::min()}) {
    CAPTURE(value);
    CHECK(WireError(Errno(value)) == -EIO);
  }
  CHECK(WireError(kWouldWait) == -EIO);
}

TEST_CASE("a directory entry", "[dirent]") {
  std::vector<std::byte> buffer(256, std::byte{0xee});
  ReplyBuffer out(buffer);
  REQUIRE(
      AddDirent(out, 256, {.ino = 17, .off = 99, .type = 8, .name = "abc"}));
  REQUIRE(AddDirent(out, 256,
                    {.ino = 18, .off = ~0ull, .type = 4, .name = "12345678"}));
  Wire wire(32);
  wire.U64(0, 17).U64(8, 99).U32(16, 3).U32(20, 8).Text(24, "abc");
  wire.U64(32, 18).U64(40, ~0ull).U32(48, 8).U32(52, 4).Text(56, "12345678");
  CHECK(wire.size() == 64);
  CHECK(out.size() == 64);
  CHECK(Holds(buffer, wire.U8(64, 0xee)));
}

TEST_CASE("a directory entry with its node", "[dirent]") {
  std::vector<std::byte> buffer(512, std::byte{0xee});
  ReplyBuffer out(buffer);
  auto node = FromPattern<abi::EntryOut>();
  REQUIRE(AddDirentplus(out, 512,
                        {.ino = 17, .off = 99, .type = 8, .name = "a"}, node));
  Wire wire = Pattern(128);
  wire.U64(128, 17).U64(136, 99).U32(144, 1).U32(148, 8).Text(152, "a");
  wire.Resize(160);
  CHECK(out.size() == 160);
  CHECK(Holds(buffer, wire.U8(160, 0xee)));
}

TEST_CASE("the strides of directory entries", "[dirent]") {
  CHECK(DirentSize(1) == 32);
  CHECK(DirentSize(8) == 32);
  CHECK(DirentSize(9) == 40);
  CHECK(DirentSize(255) == 280);
  CHECK(DirentplusSize(1) == 160);
  CHECK(DirentplusSize(8) == 160);
  CHECK(DirentplusSize(9) == 168);
  CHECK(DirentplusSize(255) == 408);
}

TEST_CASE("an entry that does not fit is left out whole", "[dirent]") {
  std::vector<std::byte> buffer(1024, std::byte{0xee});
  for (size_t name = 1; name <= 255; ++name) {
    std::string text(name, 'n');
    DirEntry entry{.ino = 1, .off = 2, .type = 8, .name = text};
    CAPTURE(name);
    ReplyBuffer out(buffer);
    CHECK_FALSE(AddDirent(out, DirentSize(name) - 1, entry));
    CHECK_FALSE(AddDirentplus(out, DirentplusSize(name) - 1, entry, {}));
    CHECK(out.size() == 0);
    CHECK(AddDirent(out, DirentSize(name), entry));
    CHECK(out.size() == DirentSize(name));
    // The limit counts what is there already.
    CHECK_FALSE(AddDirent(out, 2 * DirentSize(name) - 1, entry));
    CHECK(AddDirent(out, 2 * DirentSize(name), entry));
  }
}

TEST_CASE("a limit beyond the buffer does not write beyond it", "[dirent]") {
  std::vector<std::byte> buffer(256, std::byte{0xee});
  ReplyBuffer out{std::span(buffer).first(40)};
  DirEntry entry{.ino = 1, .off = 2, .type = 8, .name = "name"};
  CHECK_FALSE(AddDirentplus(out, 4096, entry, {}));
  CHECK(AddDirent(out, 4096, entry));
  CHECK_FALSE(AddDirent(out, 4096, entry));
  CHECK(out.size() == 32);
  CHECK(buffer[40] == std::byte{0xee});
}

TEST_CASE("padding of an entry never shows what was in the buffer",
          "[dirent]") {
  std::vector<std::byte> buffer(64, std::byte{0xee});
  ReplyBuffer out(buffer);
  REQUIRE(AddDirent(out, 64, {.ino = 1, .off = 2, .type = 8, .name = "x"}));
  for (size_t i = 25; i < 32; ++i) CHECK(buffer[i] == std::byte{0});
}

TEST_CASE("what does not fit is not written", "[reply]") {
  std::array<std::byte, 16> space{};
  ReplyBuffer out(std::span<std::byte>(space).first(12));
  out.Put(uint64_t{1});
  CHECK_FALSE(out.overflowed());
  out.Put(uint64_t{~uint64_t{0}});
  CHECK(out.overflowed());
  CHECK(out.size() == 8);
  CHECK(space[8] == std::byte{0});
  ReplyBuffer none;
  none.PutBytes({});
  CHECK_FALSE(none.overflowed());
  none.Put('x');
  CHECK(none.overflowed());
}

}  // namespace
}  // namespace handlefs::proto

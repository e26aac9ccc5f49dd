// The opcode table against a second one, written from the protocol's text.
#include <catch2/catch.hpp>
#include <set>

#include "proto/opcode.h"

namespace handlefs::proto {
namespace {

struct Expected {
  uint32_t opcode;
  std::string_view name;
  size_t in;         // the struct behind the header
  int texts;         // NUL-terminated strings
  bool data;         // bytes up to the end
  int out;           // the struct of the reply; kBare, kNever, kBytes
  bool data_behind;  // and bytes behind it
};
constexpr int kBare = 0, kNone = -1, kBytes = -2, kSizeOrBytes = -3;

constexpr Expected kExpected[] = {
    {1, "LOOKUP", 0, 1, false, 128, false},
    {2, "FORGET", 8, 0, false, kNone, false},
    {3, "GETATTR", 16, 0, false, 104, false},
    {4, "SETATTR", 88, 0, false, 104, false},
    {5, "READLINK", 0, 0, false, kBytes, false},
    {6, "SYMLINK", 0, 2, false, 128, false},
    {8, "MKNOD", 16, 1, false, 128, false},
    {9, "MKDIR", 8, 1, false, 128, false},
    {10, "UNLINK", 0, 1, false, kBare, false},
    {11, "RMDIR", 0, 1, false, kBare, false},
    {12, "RENAME", 8, 2, false, kBare, false},
    {13, "LINK", 8, 1, false, 128, false},
    {14, "OPEN", 8, 0, false, 16, false},
    {15, "READ", 40, 0, false, kBytes, false},
    {16, "WRITE", 40, 0, true, 8, false},
    {17, "STATFS", 0, 0, false, 80, false},
    {18, "RELEASE", 24, 0, false, kBare, false},
    {20, "FSYNC", 16, 0, false, kBare, false},
    {21, "SETXATTR", 16, 1, true, kBare, false},
    {22, "GETXATTR", 8, 1, false, kSizeOrBytes, false},
    {23, "LISTXATTR", 8, 0, false, kSizeOrBytes, false},
    {24, "REMOVEXATTR", 0, 1, false, kBare, false},
    {25, "FLUSH", 24, 0, false, kBare, false},
    {26, "INIT", 64, 0, false, 64, false},
    {27, "OPENDIR", 8, 0, false, 16, false},
    {28, "READDIR", 40, 0, false, kBytes, false},
    {29, "RELEASEDIR", 24, 0, false, kBare, false},
    {30, "FSYNCDIR", 16, 0, false, kBare, false},
    {31, "GETLK", 48, 0, false, 24, false},
    {32, "SETLK", 48, 0, false, kBare, false},
    {33, "SETLKW", 48, 0, false, kBare, false},
    {34, "ACCESS", 8, 0, false, kBare, false},
    {35, "CREATE", 16, 1, false, 144, false},
    {36, "INTERRUPT", 8, 0, false, kNone, false},
    {37, "BMAP", 16, 0, false, 8, false},
    {38, "DESTROY", 0, 0, false, kBare, false},
    {39, "IOCTL", 32, 0, true, 16, true},
    {40, "POLL", 24, 0, false, 8, false},
    {41, "NOTIFY_REPLY", 40, 0, true, kNone, false},
    {42, "BATCH_FORGET", 8, 0, true, kNone, false},
    {43, "FALLOCATE", 32, 0, false, kBare, false},
    {44, "READDIRPLUS", 40, 0, false, kBytes, false},
    {45, "RENAME2", 16, 2, false, kBare, false},
    {46, "LSEEK", 24, 0, false, 8, false},
    {47, "COPY_FILE_RANGE", 56, 0, false, 8, false},
    {48, "SETUPMAPPING", 40, 0, false, kBare, false},
    {49, "REMOVEMAPPING", 4, 0, true, kBare, false},
    {50, "SYNCFS", 8, 0, false, kBare, false},
    {51, "TMPFILE", 16, 1, false, 144, false},
    {52, "STATX", 24, 0, false, 288, false},
    {53, "COPY_FILE_RANGE_64", 56, 0, false, 8, false},
    {54, "COMPOUND", 0, 0, true, kBytes, false},
    {55, "LOOKUP_HANDLE", 0, 1, false, 40, true},
    {56, "MKOBJ_HANDLE", 16, 1, false, 40, true},
    {4096, "CUSE_INIT", 16, 0, false, 72, true},
};

int ExpectedOut(const OpRow& row) {
  switch (row.reply) {
    case ReplyKind::kNever:
      return kNone;
    case ReplyKind::kHeader:
      return kBare;
    case ReplyKind::kData:
      return kBytes;
    case ReplyKind::kSizeOrData:
      return kSizeOrBytes;
    case ReplyKind::kFixed:
    case ReplyKind::kFixedData:
      return row.reply_size;
  }
  return kBare;
}

TEST_CASE("every opcode has the row that the protocol gives it", "[table]") {
  REQUIRE(std::size(kExpected) == kOpRows);
  for (size_t i = 0; i < kOpRows; ++i) {
    const Expected& expected = kExpected[i];
    CAPTURE(expected.name);
    const OpRow* row = FindRow(expected.opcode);
    REQUIRE(row != nullptr);
    CHECK(static_cast<uint32_t>(row->op) == expected.opcode);
    CHECK(row->name == expected.name);
    CHECK(row->fixed_in == expected.in);
    int texts = (row->text != Text::kNone) + (row->text2 != Text::kNone);
    CHECK(texts == expected.texts);
    CHECK((row->tail == Tail::kData) == expected.data);
    CHECK(ExpectedOut(*row) == expected.out);
    CHECK((row->reply == ReplyKind::kFixedData) == expected.data_behind);
  }
}

TEST_CASE("a number without a row has none", "[table]") {
  std::set<uint32_t> known;
  for (const Expected& expected : kExpected) known.insert(expected.opcode);
  for (uint32_t opcode = 0; opcode < 5000; ++opcode) {
    CAPTURE(opcode);
    CHECK((FindRow(opcode) != nullptr) == (known.count(opcode) == 1));
    CHECK((RowIndex(opcode) < kOpRows) == (known.count(opcode) == 1));
  }
  for (uint32_t opcode : {0x80000000u, 0xffffffffu, 0x1a000000u}) {
    CHECK(FindRow(opcode) == nullptr);
  }
}

TEST_CASE("rows are found in one place each", "[table]") {
  std::set<size_t> rows;
  for (const Expected& expected : kExpected) {
    rows.insert(RowIndex(expected.opcode));
  }
  CHECK(rows.size() == kOpRows);
}

TEST_CASE("names that a lookup may carry, and names to make things",
          "[table]") {
  CHECK(RowOf(Opcode::kLookup).text == Text::kLookupName);
  for (Opcode op : {Opcode::kSymlink, Opcode::kMknod, Opcode::kMkdir,
                    Opcode::kUnlink, Opcode::kRmdir, Opcode::kRename,
                    Opcode::kLink, Opcode::kCreate, Opcode::kRename2}) {
    CAPTURE(RowOf(op).name);
    CHECK(RowOf(op).text == Text::kName);
  }
  CHECK(RowOf(Opcode::kRename).text2 == Text::kName);
  CHECK(RowOf(Opcode::kRename2).text2 == Text::kName);
  CHECK(RowOf(Opcode::kSymlink).text2 == Text::kFree);
  CHECK(RowOf(Opcode::kTmpfile).text == Text::kFree);
  for (Opcode op :
       {Opcode::kSetxattr, Opcode::kGetxattr, Opcode::kRemovexattr}) {
    CHECK(RowOf(op).text == Text::kFree);
  }
}

TEST_CASE("what mutates, may block, or never comes through a ring", "[table]") {
  std::set<std::string_view> mutates, blocks, dev_only;
  for (const OpRow& row : kOpTable) {
    if ((row.flags & kMutates) != 0) mutates.insert(row.name);
    if ((row.flags & kMayBlock) != 0) blocks.insert(row.name);
    if ((row.flags & kDevOnly) != 0) dev_only.insert(row.name);
  }
  CHECK(mutates == std::set<std::string_view>{
                       "SETATTR", "SYMLINK", "MKNOD", "MKDIR", "UNLINK",
                       "RMDIR", "RENAME", "LINK", "WRITE", "SETXATTR",
                       "REMOVEXATTR", "CREATE", "MKOBJ_HANDLE", "IOCTL",
                       "FALLOCATE", "RENAME2", "COPY_FILE_RANGE", "TMPFILE",
                       "COPY_FILE_RANGE_64"});
  CHECK(blocks == std::set<std::string_view>{"READ", "WRITE", "FSYNC",
                                             "FSYNCDIR", "SETLKW", "FALLOCATE",
                                             "COPY_FILE_RANGE", "SYNCFS",
                                             "COPY_FILE_RANGE_64"});
  CHECK(dev_only == std::set<std::string_view>{"FORGET", "INIT", "INTERRUPT",
                                               "NOTIFY_REPLY", "BATCH_FORGET",
                                               "CUSE_INIT"});
}

}  // namespace
}  // namespace handlefs::proto

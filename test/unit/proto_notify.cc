// Notifications and numbers of the protocol.
#include <catch2/catch.hpp>
#include <cstring>
#include <set>
#include <string>

#include "bytes.h"
#include "proto/abi_device.h"
#include "proto/flags.h"
#include "proto/notify.h"

namespace handlefs::proto {
namespace {

using test::Wire;

bool Is(const Notification& notification, Wire wire) {
  auto bytes = notification.bytes();
  return bytes.size() == wire.size() &&
         std::memcmp(bytes.data(), wire.raw().data(), wire.size()) == 0;
}

Wire Code(uint32_t len, uint32_t code) {
  Wire wire(16);
  return wire.U32(0, len).U32(4, code);
}

TEST_CASE("notifications about an inode", "[notify]") {
  CHECK(Is(InvalAttributes(NodeId{5}),
           Code(40, 2).U64(16, 5).U64(24, ~0ull).U64(32, 0)));
  CHECK(Is(InvalData(NodeId{5}, 4096, 8192),
           Code(40, 2).U64(16, 5).U64(24, 4096).U64(32, 8192)));
  CHECK(Is(InvalData(NodeId{~0ull}, 0, -1),
           Code(40, 2).U64(16, ~0ull).U64(24, 0).U64(32, ~0ull)));
}

TEST_CASE("notifications about a name", "[notify]") {
  CHECK(Is(
      InvalEntry(NodeId{1}, "abc", EntryFate::kDrop),
      Code(36, 3).U64(16, 1).U32(24, 3).U32(28, 0).Text(32, "abc").U8(35, 0)));
  CHECK(
      Is(InvalEntry(NodeId{1}, "a", EntryFate::kExpire),
         Code(34, 3).U64(16, 1).U32(24, 1).U32(28, 1).Text(32, "a").U8(33, 0)));
  CHECK(Is(
      Delete(NodeId{1}, NodeId{9}, "ab"),
      Code(43, 6).U64(16, 1).U64(24, 9).U32(32, 2).U32(36, 0).Text(40, "ab").U8(
          42, 0)));
}

TEST_CASE("notifications of the longest name, and of a longer one",
          "[notify]") {
  std::string name(255, 'n');
  auto entry = InvalEntry(NodeId{1}, name, EntryFate::kDrop);
  CHECK(entry.bytes().size() == 16 + 16 + 256);
  auto gone = Delete(NodeId{1}, NodeId{2}, name);
  CHECK(gone.bytes().size() == 16 + 24 + 256);
  CHECK(Is(gone,
           Code(296, 6).U64(16, 1).U64(24, 2).U32(32, 255).Text(40, name).U8(
               295, 0)));
  auto longer = Delete(NodeId{1}, NodeId{2}, name + "more");
  CHECK(longer.bytes().size() == gone.bytes().size());
}

TEST_CASE("notifications of few words", "[notify]") {
  CHECK(Is(PollWakeup(77), Code(24, 1).U64(16, 77)));
  CHECK(Is(Resend(), Code(16, 7)));
  CHECK(Is(IncEpoch(), Code(16, 8)));
}

TEST_CASE("notifications whose data follows count it in their length",
          "[notify]") {
  CHECK(Is(Store(NodeId{5}, 4096, 100),
           Code(40 + 100, 4).U64(16, 5).U64(24, 4096).U32(32, 100).U32(36, 0)));
  CHECK(Is(Prune(3), Code(32 + 24, 9).U32(16, 3).U32(20, 0).U64(24, 0)));
  // What a retrieve asks for comes back as a request.
  CHECK(Is(Retrieve(Unique{44}, NodeId{5}, 4096, 100),
           Code(48, 5).U64(16, 44).U64(24, 5).U64(32, 4096).U32(40, 100).U32(
               44, 0)));
}

TEST_CASE("flags2 counts only with INIT_EXT", "[init]") {
  auto with = InitFlags::FromWire(0x40000001, 0x00000820);
  CHECK(with.bits() == 0x0000082040000001);
  CHECK(with.Has(init::kAsyncRead));
  CHECK(with.Has(init::kPassthrough));
  CHECK(with.Has(init::kBit43));
  auto without = InitFlags::FromWire(0x00000001, 0x00000820);
  CHECK(without.bits() == 1);
  CHECK_FALSE(without.Has(init::kPassthrough));
}

TEST_CASE("init flags are a set", "[init]") {
  InitFlags flags;
  CHECK(flags.bits() == 0);
  flags.Add(init::kInitReserved).Add(init::kSecurityCtx).Add(init::kBit43);
  CHECK(flags.low() == 0x80000000);
  CHECK(flags.high() == 0x00000801);
  flags.Remove(init::kSecurityCtx).Remove(init::kSecurityCtx);
  CHECK(flags.high() == 0x00000800);
  CHECK(flags == InitFlags().Add(init::kBit43).Add(init::kInitReserved));
}

TEST_CASE("init bits have the protocol's numbers and names", "[init]") {
  CHECK(init::Name(init::Bit{0}) == "ASYNC_READ");
  CHECK(init::Name(init::Bit{1}) == "POSIX_LOCKS");
  CHECK(init::Name(init::Bit{2}) == "FILE_OPS");
  CHECK(init::Name(init::Bit{4}) == "EXPORT_SUPPORT");
  CHECK(init::Name(init::Bit{10}) == "FLOCK_LOCKS");
  CHECK(init::Name(init::Bit{13}) == "DO_READDIRPLUS");
  CHECK(init::Name(init::Bit{16}) == "WRITEBACK_CACHE");
  CHECK(init::Name(init::Bit{20}) == "POSIX_ACL");
  CHECK(init::Name(init::Bit{22}) == "MAX_PAGES");
  CHECK(init::Name(init::Bit{24}) == "NO_OPENDIR_SUPPORT");
  CHECK(init::Name(init::Bit{28}) == "HANDLE_KILLPRIV_V2");
  CHECK(init::Name(init::Bit{29}) == "SETXATTR_EXT");
  CHECK(init::Name(init::Bit{30}) == "INIT_EXT");
  CHECK(init::Name(init::Bit{32}) == "SECURITY_CTX");
  CHECK(init::Name(init::Bit{34}) == "CREATE_SUPP_GROUP");
  CHECK(init::Name(init::Bit{37}) == "PASSTHROUGH");
  CHECK(init::Name(init::Bit{38}) == "NO_EXPORT_SUPPORT");
  CHECK(init::Name(init::Bit{39}) == "HAS_RESEND");
  CHECK(init::Name(init::Bit{40}) == "ALLOW_IDMAP");
  CHECK(init::Name(init::Bit{41}) == "OVER_IO_URING");
  CHECK(init::Name(init::Bit{42}) == "REQUEST_TIMEOUT");
  std::set<std::string_view> names;
  for (int bit = 0; bit <= 43; ++bit) {
    names.insert(init::Name(static_cast<init::Bit>(bit)));
  }
  CHECK(names.size() == 44);
  for (int bit = 44; bit < 256; ++bit) {
    CHECK(init::Name(static_cast<init::Bit>(bit)).empty());
  }
}

TEST_CASE("ioctls of the device", "[device]") {
  // direction << 30 | size << 16 | 229 << 8 | number
  CHECK(kIocClone == (2ul << 30 | 4 << 16 | 229 << 8 | 0));
  CHECK(kIocBackingOpen ==
        (1ul << 30 | sizeof(abi::BackingMap) << 16 | 229 << 8 | 1));
  CHECK(kIocBackingClose == (1ul << 30 | 4 << 16 | 229 << 8 | 2));
  CHECK(kIocSyncInit == (229 << 8 | 3));
}

TEST_CASE("bits inside requests and replies", "[flags]") {
  CHECK(fattr::kKillSuidgid == 2048);
  CHECK(fattr::kCtime == 1024);
  CHECK(fattr::kLockOwner == 512);
  CHECK(fattr::kMtimeNow == 256);
  CHECK(fopen::kPassthrough == 128);
  CHECK(fopen::kParallelDirectWrites == 64);
  CHECK(fopen::kNoflush == 32);
  CHECK(fopen::kCacheDir == 8);
  CHECK(kReadLockowner == 2);
  CHECK(kWriteKillSuidgid == 4);
  CHECK(kReleaseFlockUnlock == 2);
  CHECK(kIoctlDir == 16);
  CHECK(kUniqueResend == 0x8000000000000000);
}

}  // namespace
}  // namespace handlefs::proto

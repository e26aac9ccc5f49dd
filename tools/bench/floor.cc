#include "floor.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "io/dev_transport.h"
#include "io/uring_transport.h"
#include "process.h"
#include "proto/flags.h"
#include "proto/opcode.h"
#include "proto/reply.h"
#include "text.h"

namespace handlefs::bench {
namespace {

using proto::Opcode;

constexpr uint64_t kFileNode = 2;
constexpr uint64_t kForever = 0xffffffff;
constexpr uint32_t kMaxWrite = 128 << 10;

abi::Attr AttrOf(NodeId node) {
  abi::Attr attr{};
  attr.ino = Raw(node);
  attr.mode = node == kRootNode ? S_IFDIR | 0755 : S_IFREG | 0644;
  attr.nlink = 1;
  attr.blksize = 4096;
  return attr;
}

template <typename T>
void Put(io::Packet& packet, const T& value) {
  proto::ReplyBuffer out(packet.token.payload());
  out.Put(value);
  packet.token.Reply(out.size());
}

bool Always() { return true; }

int ServeDev(UniqueFd device) {
  auto transport = io::DevTransport::Create(
      std::move(device), {.scheduling = io::Scheduling::kAuto});
  if (!transport.ok()) {
    std::fputs("floor: cannot use the device\n", stderr);
    return 1;
  }
  FloorHandler handler;
  (void)(*transport)->Run(handler);
  return 0;
}

bool UringIsOn() {
  return ReadFile("/sys/module/fuse/parameters/enable_uring").starts_with("Y");
}

int ServeUring(UniqueFd device) {
  auto transport = io::DevTransport::Create(std::move(device), {});
  auto cpus = io::ReadCpus();
  if (!transport.ok() || !cpus.ok()) {
    std::fputs("floor: cannot use the device, or /sys tells no CPUs\n", stderr);
    return 1;
  }
  std::unique_ptr<io::UringTransport> rings;
  std::atomic<bool> serving{false};
  FloorHandler* self = nullptr;
  FloorHandler handler(FloorHandler::Extension{
      .bit = proto::init::kOverIoUring,
      .prepare =
          [&] {
            auto made = io::UringTransport::Create(
                (*transport)->device(), *cpus,
                {.payload_size = io::PayloadSize(kMaxWrite),
                 .scheduling = io::Scheduling::kAuto,
                 .report =
                     [](const std::string& what) {
                       std::fprintf(stderr, "floor: %s\n", what.c_str());
                     }},
                *self);
            if (!made.ok()) return false;
            rings = *std::move(made);
            return true;
          },
      .start =
          [&] {
            rings->Start();
            serving.store(true);
          }});
  self = &handler;
  (*transport)->SetTick([&] {
    return serving.load() ? rings->Tick() : io::Activity::kIdle;
  });
  (void)(*transport)->Run(handler);
  if (rings != nullptr) rings->Stop();
  return 0;
}

constexpr FloorKind kKinds[] = {
    {.transport = "dev", .available = Always, .serve = ServeDev},
    {.transport = "uring", .available = UringIsOn, .serve = ServeUring},
};

}  // namespace

void FloorHandler::AnswerInit(io::Packet& packet) {
  abi::InitIn in{};
  std::memcpy(&in, packet.raw.fixed.data(),
              std::min(sizeof(in), packet.raw.fixed.size()));
  proto::InitFlags offered = proto::InitFlags::FromWire(in.flags, in.flags2);
  proto::InitFlags flags;
  for (int bit = 0; bit < 64; ++bit) {
    auto b = static_cast<proto::init::Bit>(bit);
    bool wanted = b == proto::init::kMaxPages || b == proto::init::kInitExt ||
                  b == proto::init::kBigWrites ||
                  (extension_ && b == extension_->bit);
    if (wanted && offered.Has(b)) flags.Add(b);
  }
  if (extension_ && (!flags.Has(extension_->bit) || !extension_->prepare())) {
    std::fputs("floor: the kernel does not offer this transport\n", stderr);
    packet.token.ReplyError(Errno(EPROTO));
    return;
  }
  abi::InitOut out{};
  out.major = proto::kMajor;
  out.minor = std::min(in.minor, proto::kMinor);
  out.max_readahead = in.max_readahead;
  out.max_background = 64;
  out.congestion_threshold = 48;
  out.max_write = kMaxWrite;
  out.max_pages = kMaxWrite / 4096;
  out.time_gran = 1;
  out.flags = flags.low();
  out.flags2 = flags.high();
  Put(packet, out);
  if (extension_) extension_->start();
}

void FloorHandler::OnPacket(io::Packet packet) {
  const abi::InHeader& header = packet.raw.header;
  const proto::OpRow* row = proto::FindRow(header.opcode);
  if (row != nullptr && row->reply == proto::ReplyKind::kNever) {
    packet.token.NoReply();
    return;
  }
  // Not the opcode table's rows: the point is that nothing happens here.
  switch (static_cast<Opcode>(header.opcode)) {
    case Opcode::kGetxattr:
      packet.token.ReplyError(Errno(ENODATA));
      return;
    case Opcode::kGetattr:
      Put(packet, abi::AttrOut{.attr_valid = kForever,
                               .attr_valid_nsec = 0,
                               .dummy = 0,
                               .attr = AttrOf(NodeId{header.nodeid})});
      return;
    case Opcode::kLookup: {
      abi::EntryOut entry{};
      entry.nodeid = kFileNode;
      entry.entry_valid = entry.attr_valid = kForever;
      entry.attr = AttrOf(NodeId{kFileNode});
      Put(packet, entry);
      return;
    }
    case Opcode::kOpen:
    case Opcode::kOpendir:
      Put(packet, abi::OpenOut{});
      return;
    case Opcode::kRelease:
    case Opcode::kReleasedir:
    case Opcode::kDestroy:
      packet.token.Reply(0);
      return;
    case Opcode::kInit:
      AnswerInit(packet);
      return;
    default:
      packet.token.ReplyError(Errno(ENOSYS));
  }
}

std::span<const FloorKind> Floors() { return kKinds; }

const FloorKind* FindFloor(const std::string& transport) {
  for (const FloorKind& kind : kKinds) {
    if (transport == kind.transport) return &kind;
  }
  return nullptr;
}

int RunFloor(const FloorKind& kind, const std::string& mount_point) {
  UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device) {
    std::perror("floor: cannot open /dev/fuse");
    return 1;
  }
  std::string data = Format(
      "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device.get());
  if (mount("floor", mount_point.c_str(), "fuse.floor", MS_NOSUID | MS_NODEV,
            data.c_str()) != 0) {
    std::perror("floor: the kernel refuses the mount");
    return 1;
  }
  return kind.serve(std::move(device));
}

}  // namespace handlefs::bench

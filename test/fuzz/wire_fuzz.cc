// Spoils good requests by a seed and sends them to a daemon that serves a tree
// on a tmpfs of its own, in a mount namespace of its own. The daemon must stay
// alive, answer each message exactly once where it must, and end well; the
// framework checks that (fake_kernel.h). What lies beside the tree must stay as
// it was.
// Under the dialects that have compounds, half of the requests are compounds,
// and a reply that would trip the kernel (proto/explain.h) is a failure too.
//   wire-fuzz [--seed N] [--iterations N] [--dialect NAME]
//   wire-fuzz --write-corpus DIRECTORY
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>

#include "chains.h"
#include "proto/explain.h"
#include "proto/text.h"
#include "script.h"

namespace handlefs::test {
namespace {

namespace fs = std::filesystem;
using proto::Opcode;

// Few, since the first RELEASE takes the open file away from those behind it.
constexpr int kPerSession = 64;
constexpr size_t kBatch = 16;
constexpr int kHandshakeFailed = 6;  // daemon/exit_code.h
constexpr int kSkipped = 77;         // meson's number for it

// False without the right to do it.
bool EnterOwnMount(const std::string& where) {
  if (unshare(CLONE_NEWNS) != 0) return false;
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return false;
  }
  return mount("handlefs-fuzz", where.c_str(), "tmpfs",
               MS_NODEV | MS_NOSUID | MS_NOEXEC,
               "size=64m,nr_inodes=20000") == 0;
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  uint64_t Below(uint64_t n) { return random_() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

  std::string Spoil(std::string bytes, const Scene& scene) {
    for (uint64_t i = Below(4); i > 0; --i) SpoilOnce(bytes, scene);
    return bytes;
  }

 private:
  template <typename T>
  void Overwrite(std::string& bytes, size_t at, T value) {
    if (at + sizeof(T) > bytes.size()) return;
    std::memcpy(bytes.data() + at, &value, sizeof(T));
  }
  uint64_t Interesting(const Scene& scene) {
    const uint64_t values[] = {0,
                               1,
                               2,
                               7,
                               8,
                               39,
                               40,
                               41,
                               127,
                               128,
                               255,
                               256,
                               4095,
                               4096,
                               65535,
                               65536,
                               0x7fffffff,
                               0x80000000,
                               0xffffffff,
                               uint64_t{1} << 32,
                               uint64_t{1} << 62,
                               uint64_t{1} << 63,
                               ~uint64_t{0},
                               INT64_MAX,
                               scene.dir,
                               scene.file,
                               scene.other,
                               scene.link,
                               scene.fh,
                               scene.other_fh,
                               scene.dir_fh,
                               Below(54),
                               random_()};
    return values[Below(std::size(values))];
  }
  void SpoilOnce(std::string& bytes, const Scene& scene) {
    if (bytes.empty()) return;
    switch (Below(9)) {
      case 0:  // a bit
        bytes[Below(bytes.size())] ^= static_cast<char>(1 << Below(8));
        break;
      case 1:  // a byte
        bytes[Below(bytes.size())] = static_cast<char>(Below(256));
        break;
      case 2:  // a word of the body
        Overwrite(bytes, 40 + 4 * Below(bytes.size() / 4 + 1),
                  static_cast<uint32_t>(Interesting(scene)));
        break;
      case 3:
        Overwrite(bytes, 40 + 8 * Below(bytes.size() / 8 + 1),
                  Interesting(scene));
        break;
      case 4:  // the node
        Overwrite(bytes, 16, Interesting(scene));
        break;
      case 5:  // the end
        bytes.resize(Below(bytes.size() + 1));
        break;
      case 6:
        bytes.append(Below(64), static_cast<char>(Below(256)));
        break;
      case 7:  // the extension area
        Overwrite(bytes, 36, static_cast<uint16_t>(Below(20)));
        break;
      case 8: {  // a piece twice
        size_t at = Below(bytes.size());
        bytes.insert(Below(bytes.size()), bytes.substr(at, Below(40)));
        break;
      }
    }
  }

  std::mt19937_64 random_;
};

std::string Describe(const std::string& bytes) {
  auto raw = proto::Split(std::as_bytes(std::span(bytes)), 16);
  std::string text =
      raw.ok() ? proto::ExplainRequest(*raw, nullptr).text : "no request";
  static constexpr char kHex[] = "0123456789abcdef";
  text += "\n  ";
  for (unsigned char byte : bytes.substr(0, 512)) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

struct Counts {
  int succeeded = 0;
  int refused = 0;
};

class Session {
 public:
  Session(Mutator& mutator, Counts& counts, const FakeKernel::Setup& setup,
          std::string_view dialect)
      : mutator_(mutator),
        counts_(counts),
        dialect_(dialect),
        chains_(dialect, [&mutator](uint64_t n) { return mutator.Below(n); }),
        by_hand_(setup.handshake == FakeKernel::Handshake::kLeftToTest),
        kernel_(tree_.source(), setup) {
    if (!by_hand_) scene_ = MakeScene(tree_, kernel_);
  }

  void Run(int messages) {
    try {
      for (size_t i = 0; i < static_cast<size_t>(messages); i += kBatch) {
        Batch();
      }
      kernel_.Stop();
    } catch (const WireFailure&) {
      if (by_hand_ && IsRefused()) return;
      for (const std::string& bytes : batch_) {
        fprintf(stderr, "%s\n", Describe(bytes).c_str());
      }
      throw;
    }
    CheckOutside();
  }

 private:
  // A spoiled INIT is the daemon's reason to leave, and to say so.
  bool IsRefused() {
    try {
      kernel_.Stop(kHandshakeFailed);
      return true;
    } catch (const WireFailure&) {
      return false;
    }
  }

  void Batch() {
    batch_.clear();
    std::vector<uint64_t> waiting;
    for (size_t i = 0; i < kBatch; ++i) {
      std::string bytes = Next();
      batch_.push_back(bytes);
      if (bytes.size() < sizeof(abi::InHeader)) {
        kernel_.SendRaw(bytes);
        continue;
      }
      uint64_t unique = kernel_.SendBytes(bytes);
      abi::InHeader header;
      std::memcpy(&header, bytes.data(), sizeof(header));
      const proto::OpRow* row = proto::FindRow(header.opcode);
      if (row != nullptr && row->reply == proto::ReplyKind::kNever) continue;
      waiting.push_back(unique);
      // It may wait for a lock, and nobody would ever give that back.
      if (row != nullptr && row->op == Opcode::kSetlkw) {
        kernel_.Send(Message(Opcode::kInterrupt, 0)
                         .Put(abi::InterruptIn{.unique = unique})
                         .WithUnique(unique | 1));
      }
    }
    for (uint64_t unique : waiting) {
      Answer answer = kernel_.Receive(unique);
      ++(answer.ok() ? counts_.succeeded : counts_.refused);
      if (auto it = asked_.find(unique); it != asked_.end()) {
        Judge(it->second, answer);
      }
    }
    asked_.clear();
  }

  // What is wrong with a reply, by the rules of the kernel that reads it.
  void Judge(const proto::Asked& asked, const Answer& answer) {
    abi::OutHeader header{
        .len = static_cast<uint32_t>(sizeof(header) + answer.payload.size()),
        .error = -answer.error,
        .unique = answer.unique};
    proto::Explanation reply = proto::ExplainReply(
        asked, header, std::as_bytes(std::span(answer.payload)));
    for (const auto& [node, handle] : reply.handles) {
      chains_.Learn(node, handle);
    }
    // Of dialects that do not have the op.
    if (reply.text.find("ENOSYS") != std::string::npos) return;
    if (reply.problems != 0) {
      throw WireFailure("a reply that trips the kernel:\n" + reply.text);
    }
  }
  void Remember(const std::string& bytes) {
    auto raw = proto::Split(std::as_bytes(std::span(bytes)), 16);
    if (!raw.ok()) return;
    // Null for "auto".
    proto::Asked asked = proto::AskedBy(*raw, proto::FindDialect(dialect_));
    if (asked.framing != nullptr) asked_[raw->header.unique] = asked;
  }

  std::string Good() {
    if (!dialect_.empty() && mutator_.OneIn(2)) {
      return chains_.Make(scene_, serial_);
    }
    const proto::OpRow& row = proto::kOpTable[mutator_.Below(proto::kOpRows)];
    return GoodMessage(row, scene_, serial_).Encode();
  }

  std::string Next() {
    ++serial_;
    std::string bytes = mutator_.Spoil(Good(), scene_);
    // An empty message is the end of the connection.
    if (bytes.empty()) bytes = "x";
    if (bytes.size() < sizeof(abi::InHeader)) return bytes;
    abi::InHeader header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    header.unique = 1000000 + 2 * static_cast<uint64_t>(serial_);
    if (mutator_.OneIn(20)) header.unique |= kUniqueResend;
    if (!mutator_.OneIn(10)) header.len = static_cast<uint32_t>(bytes.size());
    // The end of the session has tests of its own.
    if (header.opcode == static_cast<uint32_t>(Opcode::kDestroy)) {
      header.opcode = static_cast<uint32_t>(Opcode::kStatfs);
    }
    std::memcpy(bytes.data(), &header, sizeof(header));
    if (!dialect_.empty()) Remember(bytes);
    return bytes;
  }

  void CheckOutside() {
    std::ifstream secret(tree_.outside() / "secret");
    std::string content(std::istreambuf_iterator<char>(secret), {});
    if (content != "secret" ||
        std::distance(fs::directory_iterator(tree_.outside()), {}) != 1) {
      throw WireFailure("something was changed outside of the tree");
    }
  }

  Mutator& mutator_;
  Counts& counts_;
  const std::string dialect_;  // empty: mainline
  ChainMaker chains_;
  std::map<uint64_t, proto::Asked> asked_;
  const bool by_hand_;
  TempTree tree_;
  FakeKernel kernel_;
  Scene scene_;
  int serial_ = 0;
  std::vector<std::string> batch_;
};

void WriteCorpus(const fs::path& directory) {
  Scene scene{.dir = 2,
              .file = 3,
              .other = 4,
              .link = 5,
              .fh = 6,
              .other_fh = 7,
              .dir_fh = 8};
  using namespace std::literals;
  for (const proto::OpRow& row : proto::kOpTable) {
    Message message = GoodMessage(row, scene, 1).As(1000, 1000, 4242);
    message.WithUnique(12);
    if ((row.flags & proto::kMutates) != 0 && row.text != proto::Text::kNone) {
      message.Extension(32, "\x01\0\0\0\x64\0\0\0"sv)
          .Extension(33,
                     "\x0c\0"
                     "12bytehandle"sv)
          .Extension(1, "\x03\0\0\0\0\0\0\0security.x\0ctx"sv);
    }
    std::ofstream(directory / (std::string(row.name) + ".bin"),
                  std::ios::binary)
        << message.Encode();
  }
}

// None for a third of the sessions: the released kernels.
std::string PickDialect(Mutator& mutator) {
  static constexpr std::string_view kDialects[] = {"lookup-handle-v3",
                                                   "lookup-handle-v3",
                                                   "lookup-handle-all",
                                                   "compound-v6",
                                                   "compound-v7",
                                                   "compound-dev",
                                                   "auto",
                                                   "lookup-handle-inline"};
  if (mutator.OneIn(3)) return "";
  return std::string(kDialects[mutator.Below(std::size(kDialects))]);
}

int Run(uint64_t seed, int iterations, const std::string& only) {
  char where[] = "/tmp/handlefs-fuzz-XXXXXX";
  if (mkdtemp(where) == nullptr) return 1;
  int status = kSkipped;
  if (EnterOwnMount(where)) {
    setenv("HANDLEFS_TEST_TMP", where, 1);
    Mutator mutator(seed);
    Counts counts;
    status = 0;
    for (int done = 0; done < iterations && status == 0; done += kPerSession) {
      FakeKernel::Setup setup;
      if (mutator.OneIn(8)) {
        setup.handshake = FakeKernel::Handshake::kLeftToTest;
      }
      std::string dialect = only.empty() ? PickDialect(mutator) : only;
      if (!dialect.empty()) setup.options = {"-odialect=" + dialect};
      try {
        Session(mutator, counts, setup, dialect)
            .Run(std::min(kPerSession, iterations - done));
      } catch (const std::exception& failure) {
        fprintf(stderr, "seed %llu, session at %d %s: %s\n",
                static_cast<unsigned long long>(seed), done, dialect.c_str(),
                failure.what());
        status = 1;
      }
    }
    printf("seed %llu: %d succeeded, %d refused\n",
           static_cast<unsigned long long>(seed), counts.succeeded,
           counts.refused);
    umount2(where, MNT_DETACH);
  }
  rmdir(where);
  return status;
}

}  // namespace
}  // namespace handlefs::test

int main(int argc, char** argv) {
  uint64_t seed = 1;
  int iterations = 10000;
  std::string dialect;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string_view option = argv[i];
    if (option == "--seed") {
      seed = strtoull(argv[i + 1], nullptr, 10);
    } else if (option == "--iterations") {
      iterations = atoi(argv[i + 1]);
    } else if (option == "--dialect") {
      dialect = argv[i + 1];
    } else if (option == "--write-corpus") {
      handlefs::test::WriteCorpus(argv[i + 1]);
      return 0;
    } else {
      fprintf(stderr, "unknown option %s\n", argv[i]);
      return 2;
    }
  }
  return handlefs::test::Run(seed, iterations, dialect);
}

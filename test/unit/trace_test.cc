// handlefs-trace: how it cuts its input, what it remembers, and, run as a
// program, its output for everything in test/data and its exit status.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>

#include "compounds.h"
#include "data.h"
#include "proto/text.h"
#include "trace_all.h"
#include "tracer.h"

namespace handlefs::trace {
namespace {

namespace fs = std::filesystem;
using namespace std::literals;
using test::Load;
using test::LookupSub;
using test::Slurp;
using test::StatxSub;
using test::Sub;
using test::V5;
using test::Wire;

std::string Hex(const Wire& wire) { return proto::HexOf(wire.bytes()); }
std::string Binary(const Wire& wire) {
  return {wire.raw().begin(), wire.raw().end()};
}

// Each message as its mark, if it has one, and its hex.
struct Cut {
  std::vector<std::string> messages;
  std::string error;
};
Cut CutUp(std::string_view input, size_t piece = SIZE_MAX,
          Reader::Format format = Reader::Format::kDetect) {
  Cut out;
  Reader reader(format, [&out](Direction direction, proto::Bytes message) {
    std::string_view mark = direction == Direction::kRequest ? ">"
                            : direction == Direction::kReply ? "<"
                                                             : "";
    out.messages.push_back(std::string(mark) + proto::HexOf(message));
  });
  bool ok = true;
  for (size_t at = 0; at < input.size() && ok; at += piece) {
    piece = std::min(piece, input.size() - at);
    ok = reader.Feed(input.substr(at, piece));
  }
  if (ok) reader.Finish();
  out.error = reader.error();
  CHECK(reader.messages() == out.messages.size());
  return out;
}

using List = std::vector<std::string>;

const Wire& Request() {
  static const Wire wire = [] {
    Wire getattr = test::GetattrSub(7);
    return getattr.U64(8, 12);
  }();
  return wire;
}
const Wire& Answer() {
  static const Wire wire = Wire(16).U32(0, 16).U32(4, -2u).U64(8, 12);
  return wire;
}

TEST_CASE("hex is cut by length, by empty lines and by marks", "[trace]") {
  const std::string rx = Hex(Request()), tx = Hex(Answer());
  CHECK(CutUp(rx).messages == List{rx});
  CHECK(CutUp(rx + tx).messages == List{rx, tx});
  CHECK(CutUp("> " + rx + "\n< " + tx + "\n").messages ==
        List{">" + rx, "<" + tx});
  CHECK(CutUp(">\n" + rx + "\n" + rx + "\n<\n" + tx).messages ==
        List{">" + rx, ">" + rx, "<" + tx});
  CHECK(CutUp("> " + rx + "\n\n" + tx).messages == List{">" + rx, tx});
  CHECK(CutUp("rx " + rx + "\ntx " + tx + "\n" + tx).messages ==
        List{">" + rx, "<" + tx, tx});
  // Comments, blanks and the ends of lines do not matter.
  std::string spread = "# a comment\n";
  for (size_t i = 0; i < rx.size(); i += 2) {
    spread += rx.substr(i, 2) + (i % 32 == 30 ? " # 16\r\n" : i % 4 ? " " : "");
  }
  CHECK(CutUp(spread).messages == List{rx});
  CHECK(CutUp("  \t\n\n# nothing\n").messages.empty());
  std::string upper = rx;
  for (char& c : upper) c = static_cast<char>(toupper(c));
  CHECK(CutUp(upper).messages == List{rx});
  // Whatever the pieces that it comes in.
  for (size_t piece : {1, 2, 3, 7, 33}) {
    CHECK(CutUp("> " + rx + "\n< " + tx + "\n", piece).messages ==
          List{">" + rx, "<" + tx});
  }
}

TEST_CASE("messages that are not as long as they say", "[trace]") {
  const std::string rx = Hex(Request());
  const std::string cut = rx.substr(0, 64);
  CHECK(CutUp(cut).messages == List{cut});
  CHECK(CutUp(cut + "\n\n" + rx).messages == List{cut, rx});
  CHECK(CutUp("> " + cut + "\n> " + rx).messages == List{">" + cut, ">" + rx});
  // A line of the log is one message, whatever it says.
  CHECK(CutUp("rx " + rx + "ffff").messages == List{">" + rx + "ffff"});
  CHECK(CutUp("rx " + Hex(Wire(40))).messages == List{">" + Hex(Wire(40))});
  CHECK(CutUp(rx + "ffff").messages == List{rx, "ffff"});
}

TEST_CASE("the other lines of a log are passed over", "[trace]") {
  const std::string rx = Hex(Request());
  CHECK(CutUp("handlefs: serving /a at /b\n<6>handlefs: the same\n"
              "rx 12 GETATTR n7\nrx " +
              rx +
              "\ntx 12 GETATTR ENOENT\n  .0 STATX n1\nnx POLL kh 7\n"
              "rx 12 ACCESS n1 mask 04\n")
            .messages == List{">" + rx});
}

TEST_CASE("what is no hex", "[trace]") {
  CHECK(CutUp("zz\n").error == "line 1: not hex: \"zz\"");
  CHECK(CutUp("# all right\n00 11 2\n").error ==
        "line 2: half a byte: \"00 11 2\"");
  CHECK(CutUp("0g").error == "line 1: half a byte: \"0g\"");
  CHECK(CutUp("\x1b[31m" + std::string(50, 'x')).error ==
        "line 1: not hex: \"?[31m" + std::string(35, 'x') + "...\"");
  CHECK(CutUp(std::string("00\0", 3), SIZE_MAX, Reader::Format::kHex).error ==
        "line 1: not hex: \"00?\"");
}

TEST_CASE("binary is cut by length", "[trace]") {
  const std::string rx = Hex(Request()), tx = Hex(Answer());
  const std::string both = Binary(Request()) + Binary(Answer());
  for (size_t piece : {SIZE_MAX, size_t{1}, size_t{5}, size_t{56}}) {
    CHECK(CutUp(both, piece, Reader::Format::kBinary).messages == List{rx, tx});
  }
  CHECK(CutUp(both).messages == List{rx, tx});
  CHECK(CutUp(both.substr(0, 60)).messages == List{rx, tx.substr(0, 8)});
  // Nothing tells where the next one begins.
  std::string shortest = Binary(Wire(16).U32(0, 15)) + both;
  CHECK(CutUp(shortest).messages.size() == 1);
}

TEST_CASE("requests are remembered for their replies", "[trace]") {
  Tracer tracer(nullptr, Direction::kUnknown);
  CHECK(tracer.Take(Direction::kUnknown, Request().bytes()) ==
        "rx 12 GETATTR n7\n");
  CHECK(tracer.Take(Direction::kUnknown, Answer().bytes()) ==
        "tx 12 GETATTR ENOENT\n");
  CHECK(tracer.Take(Direction::kUnknown, Answer().bytes()) ==
        "tx 12 ? ENOENT\n");
  // A request that was sent again is the same one.
  Wire again = Request();
  again.U64(8, uint64_t{1} << 63 | 12);
  CHECK(tracer.Take(Direction::kUnknown, again.bytes()) ==
        "rx 12! GETATTR n7\n");
  CHECK(tracer.Take(Direction::kUnknown, Answer().bytes()) ==
        "tx 12 GETATTR ENOENT\n");
  Wire wakeup = Wire(24).U32(0, 24).U32(4, 1).U64(16, 7);
  CHECK(tracer.Take(Direction::kUnknown, wakeup.bytes()) == "nx POLL kh 7\n");
  CHECK(tracer.problems() == 0);
  CHECK(tracer.Take(Direction::kRequest, Answer().bytes()) ==
        "rx malformed (16 bytes) ! too short for a header\n");
  CHECK(tracer.Take(Direction::kUnknown, Wire(15).bytes()) ==
        "tx malformed (15 bytes) ! too short for a header\n");
  Wire longer = Request();
  CHECK(tracer.Take(Direction::kUnknown, longer.Append("x").bytes()) ==
        "rx 12 GETATTR malformed (57 bytes) ! len is 56\n");
  CHECK(tracer.problems() == 3);
}

TEST_CASE("SETXATTR after an INIT without SETXATTR_EXT", "[trace]") {
  Tracer tracer(nullptr, Direction::kUnknown);
  auto take = [&tracer](const Wire& message) {
    return tracer.Take(Direction::kUnknown, message.bytes());
  };
  take(Load("01-init-bit43-offered.req.hex"));
  take(Load("01-init-bit43-offered.rep.hex"));
  Wire set = Sub(21, 7, Wire(8).U32(0, 1).Append("user.x\0v"sv));
  CHECK(take(set.U64(8, 12)) ==
        "rx 12 SETXATTR n7 \"user.x\" size 1 flags 0x0 <1 bytes> u0 g0 p0\n");
}

TEST_CASE("a handle that changes is flagged", "[trace]") {
  Tracer tracer(nullptr, Direction::kUnknown);
  uint64_t unique = 0;
  auto look_up = [&](uint64_t node, std::string_view handle) {
    Wire request = LookupSub(7, "a");
    tracer.Take(Direction::kUnknown, request.U64(8, ++unique).bytes());
    Wire reply(16 + 42);
    reply.U64(8, unique).U64(16, node).U16(56, handle.size()).Append(handle);
    return tracer.Take(Direction::kUnknown, reply.U32(0, reply.size()).bytes());
  };
  look_up(5, "abc");
  look_up(6, "xyz");
  look_up(5, "abc");
  CHECK(tracer.problems() == 0);
  CHECK(look_up(5, "abd") ==
        "tx 4 LOOKUP_HANDLE OK n5 gen 0 ttl 0.000 handle(616264)\n"
        "  ! another handle than before of n5\n");
  CHECK(tracer.problems() == 1);
  // A forgotten one may come back as another.
  Wire forget = Sub(2, 6, Wire(8).U64(0, 1));
  tracer.Take(Direction::kUnknown, forget.U64(8, 99).bytes());
  look_up(6, "other");
  CHECK(tracer.problems() == 1);
}

struct Ran {
  int status = -1;
  std::string out;
};
// `command` behind the program; a shell reads it. stderr is with the output.
Ran Run(const std::string& command) {
  std::string line = "cd '" HANDLEFS_TEST_DATA "' && '" HANDLEFS_TRACE "' " +
                     command + " 2>&1";
  Ran ran;
  FILE* pipe = popen(line.c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    ran.out.append(buffer, n);
  }
  int status = pclose(pipe);
  REQUIRE(WIFEXITED(status));
  ran.status = WEXITSTATUS(status);
  return ran;
}

// Requests before their replies, as `stem` sorts them.
List Stems() {
  List stems;
  for (const auto& entry : fs::directory_iterator(HANDLEFS_TEST_DATA)) {
    std::string name = entry.path().filename();
    if (!name.ends_with(".hex") && !name.ends_with(".bin")) continue;
    size_t at = std::min(name.find(".req.hex"), name.find(".rep.hex"));
    stems.push_back(name.substr(0, at));
  }
  std::sort(stems.begin(), stems.end());
  stems.erase(std::unique(stems.begin(), stems.end()), stems.end());
  return stems;
}

TEST_CASE("the program's output for all of test/data", "[trace]") {
  std::string all;
  for (const std::string& stem : Stems()) {
    std::string files;
    for (std::string end : {".req.hex", ".rep.hex", ""}) {
      if (fs::is_regular_file(HANDLEFS_TEST_DATA "/" + stem + end)) {
        files += " " + stem + end;
      }
    }
    Ran ran = Run(files);
    CAPTURE(files, ran.out);
    CHECK(ran.status == 0);
    all += "==" + files + "\n" + ran.out;
  }
  CHECK(all == Slurp("trace.txt"));
}

TEST_CASE("vectors of a request and its reply", "[trace]") {
  Ran ran = Run("v5_mkobj_new_req.bin v5_mkobj_reply_ok.bin");
  CHECK(ran.status == 0);
  CHECK(ran.out.ends_with(
      "tx 12 COMPOUND OK 3 subs\n"
      "  .0 MKOBJ_HANDLE OK n43 gen 1 ttl 1.000 "
      "handle(a0a1a2a3a4a5a6a7a8a9aaab)\n"
      "  .1 STATX OK ino 9002 mode 0100644 size 0 nlink 1 mask 0xfff ttl "
      "1.000\n"
      "  .2 OPEN OK fh85 open_flags 0x0\n"));
  ran =
      Run("toplevel_lookup_handle_dir7_foo_ext12_req.bin "
          "toplevel_lookup_handle_reply_ok.bin");
  CHECK(ran.status == 0);
  CHECK(
      ran.out.ends_with("tx 18 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 "
                        "handle(a0a1a2a3a4a5a6a7a8a9aaab)\n"));
}

TEST_CASE("the program's exit status", "[trace]") {
  CHECK(Run("23-statx-plain.req.hex").status == 0);
  CHECK(Run("<23-statx-plain.req.hex").status == 0);
  CHECK(Run("- <v7_lookup_getattr_req.bin").status == 0);
  CHECK(Run("--help").status == 0);
  CHECK(Run("--version").status == 0);
  CHECK(Run("--dialect=compound-v7 v7_lookup_getattr_req.bin").status == 0);
  CHECK(Run("--dialect compound-v7 v7_lookup_getattr_req.bin").status == 0);
  CHECK(Run("--dialect auto --auto v7_lookup_getattr_req.bin").status == 0);

  Ran other = Run("--dialect=compound-v6 v7_lookup_getattr_req.bin");
  CHECK(other.status == 1);
  CHECK(other.out ==
        "rx 16 COMPOUND compound-v6 stop 0 subs\n"
        "  .0 ! len reaches past the end\n");
  CHECK(Run("--replies v7_lookup_getattr_req.bin").status == 1);
  CHECK(Run("--requests v5_lookup_reply_ok.bin").status == 1);

  struct Bad {
    std::string command;
    std::string why;
  };
  const Bad bads[] = {
      {"no-such-file", "no-such-file: No such file or directory"},
      {".", ".: Is a directory"},
      {"--dialect=v9 x", "no dialect \"v9\"; see --help"},
      {"--dialect", "--dialect needs a name; see --help"},
      {"--json x", "no option --json; see --help"},
      {"</dev/null",
       "standard input: no messages in it (a log of `handlefs -d` has them "
       "with log_level=debug)"},
      {"--hex v7_lookup_getattr_req.bin",
       "v7_lookup_getattr_req.bin, line 1: not hex: "},
      {"trace.txt", "trace.txt, line 1: not hex: \"== 01-init"},
      {"23-statx-plain.req.hex >/dev/full", ""},
  };
  for (const Bad& bad : bads) {
    Ran ran = Run(bad.command);
    CAPTURE(bad.command, ran.out);
    CHECK(ran.status == 2);
    if (bad.why.empty()) continue;
    CHECK(ran.out.starts_with("handlefs-trace: " + bad.why));
    CHECK(std::count(ran.out.begin(), ran.out.end(), '\n') == 1);
  }
}

TEST_CASE("inputs of the corpus, cut and flipped", "[trace]") {
  size_t files = 0;
  for (const auto& entry :
       fs::directory_iterator(HANDLEFS_TEST_CORPUS "-trace")) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::string input(std::istreambuf_iterator<char>(file), {});
    ++files;
    for (size_t size = 0; size <= input.size(); size += 11) {
      test::TraceAll(input.substr(0, size));
    }
    for (size_t bit = 0; bit < input.size() * 8; bit += 61) {
      std::string flipped = input;
      flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
      test::TraceAll(flipped);
    }
  }
  CHECK(files >= 21);
}

}  // namespace
}  // namespace handlefs::trace

// handlefs-trace: raw FUSE messages as lines for people.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "proto/dialect.h"
#include "tracer.h"

namespace handlefs::trace {
namespace {

constexpr int kOk = 0;
constexpr int kFlagged = 1;
constexpr int kFailed = 2;

struct Options {
  const proto::Dialect* dialect = nullptr;
  Direction direction = Direction::kUnknown;
  Reader::Format format = Reader::Format::kDetect;
  std::vector<std::string> files;
};

void Help() {
  printf(
      "usage: handlefs-trace [options] [FILE...]\n"
      "\n"
      "Describes raw FUSE messages, one line each, and flags with \"!\" what "
      "is wrong with\nthem. Reads standard input without a FILE or for \"-\".\n"
      "\n"
      "Messages come in binary, one behind the other, or in hex: with # "
      "comments, apart\nby length, by empty lines, or by the marks > (request) "
      "and < (reply). The lines\n\"rx HEX\" and \"tx HEX\" of `handlefs -d -o "
      "log_level=debug` are read, its others\npassed over.\n"
      "\n"
      "  --dialect=NAME  framing of compounds: auto, or one of (auto)\n");
  for (const proto::Dialect* dialect : proto::Dialects()) {
    printf("                    %-20s %s\n", std::string(dialect->name).c_str(),
           std::string(dialect->about).c_str());
  }
  printf(
      "  --requests, --replies, --auto\n"
      "                  what messages without a mark are (auto)\n"
      "  --hex, --binary the format (told from the input)\n"
      "  -h, --help      this text\n"
      "  -V, --version   the version\n"
      "\n"
      "Exit status: 0 all is well, 1 something is flagged or malformed, 2 "
      "wrong "
      "usage or\nunreadable input.\n");
}

int Fail(const std::string& why) {
  fprintf(stderr, "handlefs-trace: %s\n", why.c_str());
  return kFailed;
}

int Follow(int fd, const std::string& name, const Options& options,
           Tracer& tracer) {
  Reader reader(options.format,
                [&tracer](Direction direction, proto::Bytes message) {
                  fputs(tracer.Take(direction, message).c_str(), stdout);
                });
  std::vector<char> buffer(1 << 16);
  bool readable = true;
  while (readable) {
    ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail(name + ": " + std::strerror(errno));
    if (n == 0) break;
    readable = reader.Feed({buffer.data(), static_cast<size_t>(n)});
    // Whoever watches a pipe wants to see it now.
    if (fflush(stdout) != 0) break;
  }
  if (!reader.Finish()) return Fail(name + ", " + reader.error());
  if (fflush(stdout) != 0 || ferror(stdout) != 0) {
    return Fail("cannot write the output");
  }
  if (reader.messages() == 0) {
    return Fail(name + ": no messages in it (a log of `handlefs -d` has them " +
                "with log_level=debug)");
  }
  return kOk;
}

int Run(const Options& options) {
  Tracer tracer(options.dialect, options.direction);
  for (const std::string& name : options.files) {
    const bool is_stdin = name == "-";
    int fd = is_stdin ? STDIN_FILENO : open(name.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Fail(name + ": " + std::strerror(errno));
    int status =
        Follow(fd, is_stdin ? "standard input" : name, options, tracer);
    if (!is_stdin) close(fd);
    if (status != kOk) return status;
  }
  return tracer.problems() == 0 ? kOk : kFlagged;
}

int Main(int argc, char** argv) {
  Options options;
  bool names_only = false;
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (names_only || argument == "-" || !argument.starts_with('-')) {
      options.files.emplace_back(argument);
    } else if (argument == "--") {
      names_only = true;
    } else if (argument == "-h" || argument == "--help") {
      Help();
      return kOk;
    } else if (argument == "-V" || argument == "--version") {
      printf("handlefs-trace %s\n", HANDLEFS_VERSION);
      return kOk;
    } else if (argument == "--requests") {
      options.direction = Direction::kRequest;
    } else if (argument == "--replies") {
      options.direction = Direction::kReply;
    } else if (argument == "--auto") {
      options.direction = Direction::kUnknown;
    } else if (argument == "--hex") {
      options.format = Reader::Format::kHex;
    } else if (argument == "--binary") {
      options.format = Reader::Format::kBinary;
    } else if (argument.starts_with("--dialect")) {
      std::string_view name = argument.substr(9);
      if (name.empty() && i + 1 < argc) {
        name = argv[++i];
      } else if (name.starts_with('=')) {
        name.remove_prefix(1);
      } else {
        return Fail("--dialect needs a name; see --help");
      }
      options.dialect = proto::FindDialect(name);
      if (options.dialect == nullptr && name != "auto") {
        return Fail("no dialect \"" + std::string(name) + "\"; see --help");
      }
    } else {
      return Fail("no option " + std::string(argument) + "; see --help");
    }
  }
  if (options.files.empty()) options.files.emplace_back("-");
  return Run(options);
}

}  // namespace
}  // namespace handlefs::trace

int main(int argc, char** argv) { return handlefs::trace::Main(argc, argv); }

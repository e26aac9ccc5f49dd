#include "options.h"

#include <charconv>
#include <optional>
#include <string_view>

namespace handlefs::standin {
namespace {

bool ToNumber(std::string_view text, uint64_t* number) {
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<std::string> Set(Options& options, std::string_view name,
                               const std::string& value) {
  if (name == "--dialect") {
    options.layout = FindLayout(value);
    if (options.layout == nullptr) return "no dialect is named " + value;
  } else if (name == "--fault") {
    const FaultRow* row = FindFault(value);
    if (row == nullptr) return "no fault is named " + value;
    options.fault = row->fault;
  } else if (name == "--seed") {
    if (!ToNumber(value, &options.seed)) return value + " is no number";
  } else if (name == "--restart-every") {
    if (!ToNumber(value, &options.restart_every)) {
      return value + " is no number";
    }
  } else {
    return "unknown option " + std::string(name);
  }
  return std::nullopt;
}

}  // namespace

std::variant<Options, std::string> ParseOptions(int argc,
                                                const char* const* argv) {
  Options options;
  options.layout = FindLayout("lookup-handle-v3");
  int i = 1;
  for (; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "--help" || word == "-h") {
      options.help = true;
      return options;
    }
    if (!word.starts_with("--") || word == "--") break;
    size_t equals = word.find('=');
    std::string name = word.substr(0, equals);
    if (equals == std::string::npos && i + 1 == argc) {
      return name + " needs a value";
    }
    std::string value =
        equals != std::string::npos ? word.substr(equals + 1) : argv[++i];
    if (auto wrong = Set(options, name, value)) return *wrong;
  }
  if (i + 2 >= argc || std::string_view(argv[i + 1]) != "--") {
    return std::string(
        "expected: [options] MOUNTPOINT -- SERVER [arguments] /dev/fd/3");
  }
  options.mount_point = argv[i];
  options.command.assign(argv + i + 2, argv + argc);
  return options;
}

std::string HelpText() {
  std::string text =
      "usage: handlefs-standin [options] MOUNTPOINT -- handlefs -f [options] "
      "SOURCE /dev/fd/3\n"
      "Stands between today's kernel and a server, and speaks to the server "
      "as a kernel\nthat nobody ships yet. umount ends it.\n\n"
      "  --dialect=NAME        which kernel (lookup-handle-v3)\n"
      "  --restart-every=N     kill the server and start another after every N "
      "requests,\n"
      "                        as soon as nothing is under way; SIGUSR1 does "
      "it once\n"
      "  --seed=N              of what today's wire does not tell (1)\n"
      "  --fault=NAME          a kernel bug\n\ndialects:\n";
  for (const Layout* layout : Layouts()) {
    text += "  " + std::string(layout->name) + ": " +
            std::string(layout->about) + "\n";
  }
  text += "faults:\n";
  for (const FaultRow& row : Faults()) {
    text += "  " + std::string(row.name) + ": " + std::string(row.about) + "\n";
  }
  return text +
         "\nExit status: 0, 1 after a violation or if the server failed, 2 for "
         "wrong usage\nor a refused mount.\n";
}

}  // namespace handlefs::standin

#include "daemon/restart/holdings.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <functional>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace handlefs {
namespace {

void Inherit(BorrowedFd fd, int flags) {
  if (fd) (void)fcntl(fd.get(), F_SETFD, flags);
}

void ForEach(const HoldingsView& view,
             const std::function<void(const std::string&, BorrowedFd)>& visit) {
  visit("state", view.state);
  visit("root", view.source.root);
  visit("dir", view.source.dir);
  visit("device", view.mounted.device);
  visit("control", view.control);
  visit("server_socket", view.server_socket);
  visit("fallback", view.fallback);
  visit("asker", view.asker);
  if (view.rings != nullptr) visit("rings", view.rings->memory());
  visit("guard", view.guard);
  for (const auto& [ref, fd] : view.fds) visit(absl::StrCat("kept.", ref), fd);
}

// Values stand on one line.
std::string Escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

std::string Unescaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      out += text[++i] == 'n' ? '\n' : text[i];
    } else {
      out += text[i];
    }
  }
  return out;
}

std::optional<int64_t> NumberOf(const std::string& text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end) return std::nullopt;
  return value;
}

}  // namespace

std::string DescribeHoldings(const HoldingsView& view) {
  std::string text = absl::StrCat(
      "source ", Escaped(view.source.path), "\n", "is_private ",
      view.source.is_private ? 1 : 0, "\n", "mount_point ",
      Escaped(view.mounted.mount_point), "\n", "mount_id ",
      view.mounted.mount_id, "\n", "by_helper ", view.mounted.by_helper ? 1 : 0,
      "\n", "is_ours ", view.is_ours ? 1 : 0, "\n", "server ", view.server,
      "\n", "paused_ns ", view.paused_ns, "\n", "failure ",
      Escaped(view.failure), "\n", "stored ", view.stored, "\n");
  if (view.rings != nullptr) {
    absl::StrAppend(&text, "rings_at ", view.rings->address(), "\n",
                    "rings_payload ", view.rings->payload_size(), "\n");
  }
  return text;
}

absl::StatusOr<UniqueFd> WriteHoldings(const HoldingsView& view) {
  std::string text = DescribeHoldings(view);
  ForEach(view, [&](const std::string& name, BorrowedFd fd) {
    if (fd) absl::StrAppend(&text, name, " ", fd.get(), "\n");
  });
  UniqueFd list(memfd_create("handlefs-holdings", 0));
  if (!list || write(list.get(), text.data(), text.size()) !=
                   static_cast<ssize_t>(text.size())) {
    return absl::ErrnoToStatus(errno, "cannot write down what is held");
  }
  ForEach(view, [](const std::string&, BorrowedFd fd) { Inherit(fd, 0); });
  return list;
}

void TakeBackHoldings(const HoldingsView& view) {
  ForEach(view,
          [](const std::string&, BorrowedFd fd) { Inherit(fd, FD_CLOEXEC); });
}

absl::StatusOr<Holdings> ParseHoldings(const std::string& text) {
  auto bad = [](const std::string& what) {
    return absl::InvalidArgumentError(what);
  };
  Holdings out;
  UniqueFd rings;
  int64_t rings_at = 0, rings_payload = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    size_t space = line.find(' ');
    if (space == std::string::npos) return bad(line);
    std::string name = line.substr(0, space);
    std::string value = Unescaped(line.substr(space + 1));
    if (name == "source") {
      out.source.path = value;
      continue;
    }
    if (name == "mount_point") {
      out.mounted.mount_point = value;
      continue;
    }
    if (name == "mount_id") {
      out.mounted.mount_id = value;
      continue;
    }
    if (name == "stored") {
      out.stored = value;
      continue;
    }
    if (name == "failure") {
      out.failure = value;
      continue;
    }
    auto n = NumberOf(value);
    if (!n) continue;  // what a newer program says
    auto fd = [&] {
      UniqueFd taken(static_cast<int>(*n));
      Inherit(taken, FD_CLOEXEC);
      return taken;
    };
    if (name == "is_private") {
      out.source.is_private = *n != 0;
    } else if (name == "by_helper") {
      out.mounted.by_helper = *n != 0;
    } else if (name == "is_ours") {
      out.is_ours = *n != 0;
    } else if (name == "server") {
      out.server = static_cast<pid_t>(*n);
    } else if (name == "paused_ns") {
      out.paused_ns = *n;
    } else if (name == "state") {
      out.state = fd();
    } else if (name == "root") {
      out.source.root = fd();
    } else if (name == "dir") {
      out.source.dir = fd();
    } else if (name == "device") {
      out.mounted.device = fd();
    } else if (name == "control") {
      out.control = fd();
    } else if (name == "server_socket") {
      out.server_socket = fd();
    } else if (name == "fallback") {
      out.fallback = fd();
    } else if (name == "asker") {
      out.asker = fd();
    } else if (name == "rings") {
      rings = fd();
    } else if (name == "rings_at") {
      rings_at = *n;
    } else if (name == "rings_payload") {
      rings_payload = *n;
    } else if (name == "guard") {
      out.guard = fd();
    } else if (name.starts_with("kept.")) {
      auto ref = NumberOf(name.substr(5));
      if (!ref) return bad(line);
      out.fds[static_cast<uint32_t>(*ref)] = fd();
    }
  }
  if (!out.state || !out.source.root || !out.source.dir ||
      !out.mounted.device) {
    return bad("something is missing");
  }
  if (rings) {
    out.rings =
        io::UringMemory::Map(std::move(rings), static_cast<uintptr_t>(rings_at),
                             static_cast<size_t>(rings_payload));
    if (out.rings == nullptr) return bad("no room for the rings");
  }
  return out;
}

absl::StatusOr<std::optional<Holdings>> TakeHoldings() {
  const char* variable = std::getenv(kHoldingsVariable);
  if (variable == nullptr) return std::optional<Holdings>();
  auto number = NumberOf(variable);
  unsetenv(kHoldingsVariable);
  auto bad = [](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(
        kHoldingsVariable, " is for handlefs itself, and damaged: ", what));
  };
  if (!number || *number < 0) return bad("no descriptor");
  UniqueFd list(static_cast<int>(*number));
  std::string text;
  char part[4096];
  for (ssize_t n, at = 0; (n = pread(list.get(), part, sizeof(part), at)) != 0;
       at += n) {
    if (n < 0) return bad("it cannot be read");
    text.append(part, static_cast<size_t>(n));
  }
  auto out = ParseHoldings(text);
  if (!out.ok()) {
    return bad(std::string(out.status().message().data(),
                           out.status().message().size()));
  }
  return std::optional<Holdings>(*std::move(out));
}

}  // namespace handlefs

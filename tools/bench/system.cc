#include "system.h"

#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "floor.h"
#include "text.h"

namespace handlefs::bench {
namespace {

using Chosen = std::variant<System, std::string>;

bool IsExecutable(const std::string& path) {
  return access(path.c_str(), X_OK) == 0;
}

Chosen Floor(const std::string& name) {
  std::string transport = name.substr(kFloorPrefix.size());
  if (FindFloor(transport) == nullptr) {
    return "system: " + name +
           " is not known: there are floor:dev and floor:uring";
  }
  return System{
      .name = name, .kind = System::Kind::kFloor, .transport = transport};
}

Chosen Handlefs(const std::string& name, const Programs& programs) {
  std::string path = programs.Handlefs();
  if (path.empty()) {
    return std::string(
        "system: no handlefs beside this program nor in PATH: build it, or "
        "give --handlefs PATH");
  }
  std::string command = "exec " + ShellQuoted(path) + " -f";
  size_t colon = name.find(':');
  if (colon != std::string::npos) {
    command += " -o " + ShellQuoted(name.substr(colon + 1));
  }
  return System{.name = name,
                .command = command + " {source} {mount}",
                .program = path,
                .version_command = ShellQuoted(path) + " --version"};
}

System FromPeer(const KnownPeer& peer) {
  return {.name = peer.name,
          .command = std::string("exec ") + peer.command,
          .program = peer.name,
          .version_command = std::string(peer.name) + " --version"};
}

Chosen Choose(const std::string& name, const Options& options,
              const Programs& programs) {
  if (name == kNative) {
    return System{.name = name, .kind = System::Kind::kNative};
  }
  for (const Peer& peer : options.peers) {
    if (peer.name == name) {
      return System{.name = name, .command = peer.command};
    }
  }
  if (name.starts_with(kFloorPrefix)) return Floor(name);
  if (name == "handlefs" || name.starts_with("handlefs:")) {
    return Handlefs(name, programs);
  }
  for (const KnownPeer& peer : KnownPeers()) {
    if (name != peer.name) continue;
    if (!programs.Find(name).empty()) return FromPeer(peer);
    std::string cure = *peer.package != '\0'
                           ? std::string("apt-get install ") + peer.package
                           : "build it from the examples of libfuse";
    return Format("system: %s is not installed: %s, or leave it out", peer.name,
                  cure.c_str());
  }
  return "system: " + name +
         " is not known: handlefs-bench list shows what is, --peer adds more";
}

std::vector<std::string> DefaultNames(const Options& options,
                                      const Programs& programs) {
  std::vector<std::string> names{std::string(kNative)};
  for (const FloorKind& floor : Floors()) {
    if (floor.available()) {
      names.push_back(std::string(kFloorPrefix) + floor.transport);
    }
  }
  names.push_back("handlefs");
  for (const KnownPeer& peer : KnownPeers()) {
    if (!programs.Find(peer.name).empty()) names.push_back(peer.name);
  }
  for (const Peer& peer : options.peers) names.push_back(peer.name);
  return names;
}

}  // namespace

const std::vector<KnownPeer>& KnownPeers() {
  // In the foreground, allowed to create whatever is free, and on the source
  // itself: nothing is merged, moved or renamed.
  static const std::vector<KnownPeer> peers = {
      {"bindfs", "bindfs -f {source} {mount}", "bindfs"},
      {"mergerfs", "mergerfs -f -o minfreespace=0 {source} {mount}",
       "mergerfs"},
      {"fuse-overlayfs",
       "fuse-overlayfs -f -o "
       "lowerdir={scratch}/lower,upperdir={source},workdir={scratch}/work "
       "{mount}",
       "fuse-overlayfs"},
      {"passthrough_hp", "passthrough_hp --foreground {source} {mount}", ""},
  };
  return peers;
}

std::variant<std::vector<System>, std::string> ChooseSystems(
    const Options& options, const Programs& programs) {
  std::vector<std::string> names = options.systems;
  if (names.empty()) {
    names = DefaultNames(options, programs);
  } else {
    // Whoever brings a peer wants it measured.
    for (const Peer& peer : options.peers) names.push_back(peer.name);
  }
  std::vector<System> systems;
  for (const std::string& name : names) {
    bool twice = false;
    for (const System& system : systems) twice |= system.name == name;
    if (twice) continue;
    Chosen chosen = Choose(name, options, programs);
    if (auto* wrong = std::get_if<std::string>(&chosen)) return *wrong;
    systems.push_back(std::get<System>(std::move(chosen)));
  }
  return systems;
}

std::string InstalledPrograms::Find(const std::string& name) const {
  const char* path = std::getenv("PATH");
  for (const std::string& dir : Split(path != nullptr ? path : "", ':')) {
    std::string candidate = Format("%s/%s", dir.c_str(), name.c_str());
    if (IsExecutable(candidate)) return candidate;
  }
  return "";
}

std::string InstalledPrograms::Handlefs() const {
  char real[PATH_MAX];
  if (!handlefs_.empty()) {
    bool found =
        IsExecutable(handlefs_) && realpath(handlefs_.c_str(), real) != nullptr;
    return found ? real : "";
  }
  if (realpath("/proc/self/exe", real) != nullptr) {
    std::string own = real;
    std::string built = own.substr(0, own.rfind('/')) + "/../daemon/handlefs";
    if (IsExecutable(built) && realpath(built.c_str(), real) != nullptr) {
      return real;
    }
    std::string beside = own.substr(0, own.rfind('/')) + "/handlefs";
    if (IsExecutable(beside)) return beside;
  }
  return Find("handlefs");
}

std::string ShellQuoted(const std::string& text) {
  return "'" + Replace(text, "'", "'\\''") + "'";
}

std::string FillIn(std::string command, const std::string& source,
                   const std::string& mount, const std::string& scratch) {
  command = Replace(std::move(command), "{source}", ShellQuoted(source));
  command = Replace(std::move(command), "{mount}", ShellQuoted(mount));
  return Replace(std::move(command), "{scratch}", ShellQuoted(scratch));
}

}  // namespace handlefs::bench

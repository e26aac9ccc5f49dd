// What is compared: the source itself, servers that are started by a command,
// and the floor, a server of our own that always gives the same answer.
#ifndef HANDLEFS_TOOLS_BENCH_SYSTEM_H_
#define HANDLEFS_TOOLS_BENCH_SYSTEM_H_

#include <string>
#include <variant>
#include <vector>

#include "options.h"

namespace handlefs::bench {

struct System {
  enum class Kind { kNative, kFloor, kCommand };
  std::string name = {};
  Kind kind = Kind::kCommand;
  std::string transport = {};        // of the floor
  std::string command = {};          // for the shell, with {source} and {mount}
  std::string program = {};          // of the command; empty for other peers
  std::string version_command = {};  // prints it on its first line
};

// Servers that are known by name.
struct KnownPeer {
  const char* name;
  const char* command;
  const char* package;  // of Debian; empty if there is none
};
const std::vector<KnownPeer>& KnownPeers();

// Where it finds programs; the tests have their own.
class Programs {
 public:
  virtual ~Programs() = default;
  // The path of a program, or "".
  virtual std::string Find(const std::string& name) const = 0;
  // The handlefs to measure, or "".
  virtual std::string Handlefs() const = 0;
};

// The systems that the options ask for. Or what is wrong and the cure.
std::variant<std::vector<System>, std::string> ChooseSystems(
    const Options& options, const Programs& programs);

// PATH, and the build tree that this program lies in.
class InstalledPrograms final : public Programs {
 public:
  // `handlefs` is a path, or empty.
  explicit InstalledPrograms(std::string handlefs)
      : handlefs_(std::move(handlefs)) {}
  std::string Find(const std::string& name) const override;
  std::string Handlefs() const override;

 private:
  const std::string handlefs_;
};

// A word for the shell.
std::string ShellQuoted(const std::string& text);
// The command with the paths in it.
std::string FillIn(std::string command, const std::string& source,
                   const std::string& mount, const std::string& scratch);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_SYSTEM_H_

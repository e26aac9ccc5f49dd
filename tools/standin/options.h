// The command line.
#ifndef HANDLEFS_TOOLS_STANDIN_OPTIONS_H_
#define HANDLEFS_TOOLS_STANDIN_OPTIONS_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "fault.h"
#include "layout.h"

namespace handlefs::standin {

struct Options {
  const Layout* layout = nullptr;
  Fault fault = Fault::kNone;
  uint64_t seed = 1;
  uint64_t restart_every = 0;  // requests; 0 for never
  bool help = false;
  std::string mount_point;
  std::vector<std::string> command;
};

// Or what is wrong.
std::variant<Options, std::string> ParseOptions(int argc,
                                                const char* const* argv);
std::string HelpText();

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_OPTIONS_H_

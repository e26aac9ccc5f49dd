// handlefs-standin: plays a kernel of the future between today's kernel and a
// server.
#include <cstdio>
#include <exception>

#include "complaints.h"
#include "options.h"
#include "session.h"

int main(int argc, char** argv) try {
  using namespace handlefs::standin;  // NOLINT: this is its main program
  auto parsed = ParseOptions(argc, argv);
  if (auto* wrong = std::get_if<std::string>(&parsed)) {
    Say(*wrong + " (--help tells more)");
    return 2;
  }
  auto& options = std::get<Options>(parsed);
  if (options.help) {
    std::fputs(HelpText().c_str(), stdout);
    return 0;
  }
  return Session(options).Run();
} catch (const std::exception& error) {
  std::fprintf(stderr, "handlefs-standin: %s\n", error.what());
  return 2;
}

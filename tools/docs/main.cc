// generate man TEMPLATE | bash | zsh | fish: writes to standard output.
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "generate.h"

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  std::string out;
  if (what == "man" && argc == 3) {
    std::ifstream file(argv[2]);
    std::stringstream text;
    text << file.rdbuf();
    if (!file) {
      std::fprintf(stderr, "generate: cannot read %s\n", argv[2]);
      return 1;
    }
    out = handlefs::docs::ManPage(text.str());
  } else if (what == "bash") {
    out = handlefs::docs::BashCompletion();
  } else if (what == "zsh") {
    out = handlefs::docs::ZshCompletion();
  } else if (what == "fish") {
    out = handlefs::docs::FishCompletion();
  } else {
    std::fputs("usage: generate man TEMPLATE | bash | zsh | fish\n", stderr);
    return 1;
  }
  return std::fputs(out.c_str(), stdout) < 0 ? 1 : 0;
}

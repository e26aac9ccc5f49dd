#include "daemon/mountinfo.h"

#include <fstream>
#include <sstream>
#include <utility>

namespace handlefs {
namespace {

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// "\040" is a space.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) &&
        IsOctal(text[i + 2]) && IsOctal(text[i + 3])) {
      out += static_cast<char>((text[i + 1] - '0') * 64 +
                               (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::optional<MountLine> Parse(const std::string& line) {
  std::istringstream words(line);
  std::string parent, device, root, point, word;
  MountLine mount;
  words >> mount.id >> parent >> device >> root >> point;
  // Any number of fields stands before the dash.
  while (words >> word && word != "-") {
  }
  if (!(words >> mount.type)) return std::nullopt;
  mount.minor = device.substr(device.find(':') + 1);
  mount.point = Unescape(point);
  return mount;
}

}  // namespace

std::vector<MountLine> ReadMountInfo(std::istream& mountinfo) {
  std::vector<MountLine> table;
  for (std::string line; std::getline(mountinfo, line);) {
    if (auto mount = Parse(line)) table.push_back(*std::move(mount));
  }
  return table;
}

std::vector<MountLine> ReadMountInfo() {
  std::ifstream mountinfo("/proc/self/mountinfo");
  return ReadMountInfo(mountinfo);
}

std::optional<MountLine> TopMountAt(const std::vector<MountLine>& table,
                                    std::string_view point) {
  std::optional<MountLine> top;
  for (const MountLine& mount : table) {
    if (mount.point == point) top = mount;
  }
  return top;
}

std::optional<MountLine> TopMountAt(std::string_view point) {
  return TopMountAt(ReadMountInfo(), point);
}

std::optional<MountLine> MountOfId(std::string_view id) {
  for (MountLine& mount : ReadMountInfo()) {
    if (mount.id == id) return std::move(mount);
  }
  return std::nullopt;
}

}  // namespace handlefs

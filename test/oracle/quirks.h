// Named comparisons and step forms which can be switched off.
#ifndef HANDLEFS_TEST_ORACLE_QUIRKS_H_
#define HANDLEFS_TEST_ORACLE_QUIRKS_H_

#include <cstdint>
#include <string>

#include "op.h"

namespace oracle {

struct Quirk {
  const char* name;
  uint64_t ignore;             // mask of Tag
  bool (*drop)(const Op& op);  // step forms not generated, or null
  const char* on_fs;  // host file systems where it is always on, or null
  const char* reason;
};

class Quirks {
 public:
  // Switches on the rows which the host file system of this directory needs.
  void AddForHost(const std::string& dir);
  bool Add(const std::string& name);
  uint64_t ignore() const { return ignore_; }
  bool Drops(const Op& op) const;
  static void PrintTable();

 private:
  uint64_t ignore_ = 0;
  uint64_t on_ = 0;
};

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_QUIRKS_H_

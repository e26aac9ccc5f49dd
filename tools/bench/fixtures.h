// Trees that workloads read: made once in each run, the same in every run, and
// never changed.
#ifndef HANDLEFS_TOOLS_BENCH_FIXTURES_H_
#define HANDLEFS_TOOLS_BENCH_FIXTURES_H_

#include <cstdint>
#include <string>

#include "client.h"

namespace handlefs::bench {

inline constexpr char kCalls[] = "calls";  // the files f0 to f3 at the top
inline constexpr char kFew[] = "few";      // a directory of kFewFiles files
inline constexpr uint64_t kFewFiles = 1000;
inline constexpr char kFlat[] = "flat";  // one large directory
inline constexpr char kWalk[] = "walk";  // directories of 100 files
inline constexpr char kText[] = "text";  // something like sources
inline constexpr char kPack[] = "pack";  // pack.tar, of the text
inline constexpr char kRepo[] = "repo";  // a git repository, of the text
inline constexpr char kData[] = "data";  // files for reading
inline constexpr int kDataFiles = 4;
inline constexpr char kFilesPrefix[] = "files-";  // and a number

// A word that stands in one of 20 files of the text.
inline constexpr char kNeedle[] = "needleword";

// Makes it below the client's root, in a client process.
void BuildFixture(Client& client, const std::string& name);

// A large file of bytes that do not repeat.
void FillFile(Client& client, const std::string& path, uint64_t bytes);
// The environment in which git does the same everywhere.
void SetGitEnvironment();

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_FIXTURES_H_

#include "fixtures.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "text.h"

namespace handlefs::bench {
namespace {

constexpr uint64_t kFilesInDirectory = 100;
constexpr uint64_t kTextInDirectory = 25;
constexpr uint64_t kSmallest = 500;
constexpr uint64_t kLargest = 21000;

// splitmix64: the same numbers everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

void MakeDirectory(Client& client, const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0) client.Fail("mkdir " + path);
}

void MakeFile(Client& client, const std::string& path,
              const std::string& content) {
  int fd = open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) client.Fail("create " + path);
  if (write(fd, content.data(), content.size()) !=
      static_cast<ssize_t>(content.size())) {
    client.Fail("write " + path);
  }
  close(fd);
}

std::string Numbered(const char* prefix, uint64_t i) {
  return Format("%s%llu", prefix, static_cast<unsigned long long>(i));
}

// Directories of 100 empty files each, in directories of 100 such.
void MakeManyFiles(Client& client, const std::string& top, uint64_t files) {
  MakeDirectory(client, top);
  std::string upper, lower;
  for (uint64_t i = 0; i < files; ++i) {
    uint64_t directory = i / kFilesInDirectory;
    if (i % (kFilesInDirectory * kFilesInDirectory) == 0) {
      upper = top + "/" + Numbered("u", directory / kFilesInDirectory);
      MakeDirectory(client, upper);
    }
    if (i % kFilesInDirectory == 0) {
      lower = upper + "/" + Numbered("d", directory);
      MakeDirectory(client, lower);
    }
    MakeFile(client, lower + "/" + Numbered("f", i), "");
  }
}

void MakeFlat(Client& client, const std::string& top, uint64_t files) {
  MakeDirectory(client, top);
  for (uint64_t i = 0; i < files; ++i) {
    MakeFile(client, top + "/" + Numbered("f", i), "");
  }
}

std::string Prose(Random& random, uint64_t size) {
  static constexpr const char* kWords[] = {
      "return", "value", "node",   "file",  "if",     "while",
      "handle", "const", "buffer", "count", "size_t", "error"};
  std::string text;
  while (text.size() < size) {
    uint64_t draw = random.Next();
    text += kWords[draw % std::size(kWords)];
    text += draw % 11 == 0 ? ";\n" : " ";
    if (draw % 5 == 0) text += Format("%x ", static_cast<unsigned>(draw >> 40));
  }
  return text;
}

// As large as the sources of a small project: 1600 files are 17 MB.
void MakeText(Client& client, const std::string& top) {
  MakeDirectory(client, top);
  Random random(1);
  std::string directory;
  for (uint64_t i = 0; i < client.knobs().text_files; ++i) {
    if (i % kTextInDirectory == 0) {
      directory = top + "/" + Numbered("module", i / kTextInDirectory);
      MakeDirectory(client, directory);
    }
    std::string content =
        Prose(random, kSmallest + random.Next() % (kLargest - kSmallest));
    if (i % 20 == 0) content += std::string(kNeedle) + "\n";
    MakeFile(client, directory + "/" + Numbered("part", i) + ".cc", content);
  }
}

void MakeRepository(Client& client, const std::string& top) {
  SetGitEnvironment();
  client.Run({"git", "init", "-q", top});
  client.Run({"cp", "-r", client.Path(kText), top + "/" + kText});
  client.Run({"git", "-C", top, "add", "."});
  client.Run({"git", "-C", top, "commit", "-q", "-m", "all"});
}

}  // namespace

void SetGitEnvironment() {
  static constexpr const char* kVariables[][2] = {
      {"GIT_CONFIG_GLOBAL", "/dev/null"},
      {"GIT_CONFIG_NOSYSTEM", "1"},
      {"GIT_TERMINAL_PROMPT", "0"},
      {"GIT_AUTHOR_NAME", "bench"},
      {"GIT_AUTHOR_EMAIL", "bench@example.org"},
      {"GIT_AUTHOR_DATE", "2020-01-01T00:00:00Z"},
      {"GIT_COMMITTER_NAME", "bench"},
      {"GIT_COMMITTER_EMAIL", "bench@example.org"},
      {"GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z"}};
  for (const auto& [name, value] : kVariables) setenv(name, value, 1);
  unsetenv("GIT_DIR");
  unsetenv("GIT_WORK_TREE");
  unsetenv("GIT_INDEX_FILE");
}

void FillFile(Client& client, const std::string& path, uint64_t bytes) {
  int fd = open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) client.Fail("create " + path);
  Random random(bytes);
  std::vector<uint64_t> block(1 << 17);
  for (uint64_t done = 0; done < bytes;) {
    for (uint64_t& word : block) word = random.Next();
    size_t size = std::min<uint64_t>(bytes - done, block.size() * 8);
    if (write(fd, block.data(), size) != static_cast<ssize_t>(size)) {
      client.Fail("write " + path);
    }
    done += size;
  }
  close(fd);
}

void BuildFixture(Client& client, const std::string& name) {
  const std::string path = client.Path(name);
  if (name == kCalls) {
    for (int i = 0; i < 4; ++i) {
      MakeFile(client, client.Path(Format("f%d", i)), "");
    }
  } else if (name == kFew) {
    MakeFlat(client, path, kFewFiles);
  } else if (name == kFlat) {
    MakeFlat(client, path, client.knobs().flat_files);
  } else if (name == kWalk) {
    MakeManyFiles(client, path, client.knobs().walk_files);
  } else if (name == kText) {
    MakeText(client, path);
  } else if (name == kPack) {
    client.Run(
        {"tar", "-cf", client.Path("pack.tar"), "-C", client.Path("."), kText});
  } else if (name == kRepo) {
    MakeRepository(client, path);
  } else if (name == kData) {
    MakeDirectory(client, path);
    for (int i = 0; i < kDataFiles; ++i) {
      FillFile(client, path + Format("/file%d", i), client.knobs().data_bytes);
    }
  } else if (name.starts_with(kFilesPrefix)) {
    MakeManyFiles(
        client, path,
        std::strtoull(name.c_str() + std::strlen(kFilesPrefix), nullptr, 10));
  } else {
    client.FailPlainly("no tree is named " + name);
  }
}

}  // namespace handlefs::bench

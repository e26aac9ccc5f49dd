// What must hold in the model's tree at any time.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tree_model.h"

namespace handlefs::test {

void TreeModel::CheckIsFile(const Ref& file, BorrowedFd fd) {
  FileNumbers numbers = NumbersOf(fd);
  CAPTURE(file->number, file->names);
  REQUIRE(numbers.ino == file->numbers.ino);
  REQUIRE(numbers.dev == file->numbers.dev);
  REQUIRE(numbers.mode == file->numbers.mode);
  REQUIRE((numbers.nlink > 0 || file->names.empty()));
  if (file->type == 'l') {
    char target[32];
    ssize_t n = readlinkat(fd.get(), "", target, sizeof(target));
    REQUIRE(n > 0);
    REQUIRE(std::string(target, static_cast<size_t>(n)) ==
            std::to_string(file->number));
  }
}

void TreeModel::CheckNode(const Ref& file) {
  if (file->ever == kNoNode) return;
  // Another file may have the id by now, if ids are numbers.
  if (owners_.at(Raw(file->ever)) != file) return;
  CAPTURE(file->number, file->names, file->type, Raw(file->ever));
  bool alive = !file->names.empty();
  auto fd = nodes_->Resolve(file->ever);
  if (IsKnown(file) && (alive || file->pinned)) {
    REQUIRE(ErrorOf(fd) == 0);
  } else if (!fd.ok()) {
    REQUIRE(ErrorOf(fd) == ESTALE);
    return;
  } else if (!options_.by_name) {
    // Nodes by name keep their directories.
    REQUIRE_FALSE((file->lookups == 0 && IsTableId(file->ever)));
  }
  CheckIsFile(file, **fd);
  fd = Errno(EIO);
  nodes_->Trim();
  if (!alive && !file->pinned && file->type != 'd' && options_.stable_ids) {
    // Nothing holds it any more.
    REQUIRE(ErrorOf(nodes_->Resolve(file->ever)) == ESTALE);
    return;
  }
  if (file->type == 'f') {
    auto opened = nodes_->Open(file->ever, O_RDONLY | O_NOFOLLOW);
    REQUIRE(ErrorOf(opened) == 0);
    CheckIsFile(file, opened->fd);
    char text[32];
    ssize_t n = read(opened->fd.get(), text, sizeof(text));
    REQUIRE(n > 0);
    REQUIRE(std::string(text, static_cast<size_t>(n)) ==
            std::to_string(file->number));
  } else if (file->type == 'd') {
    auto opened = nodes_->Open(file->ever, O_RDONLY | O_DIRECTORY);
    if (alive) {
      REQUIRE(ErrorOf(opened) == 0);
      CheckIsFile(file, opened->fd);
      auto path = nodes_->HostPath(file->ever);
      REQUIRE(ErrorOf(path) == 0);
      REQUIRE(*path == (file->names[0].empty() ? "/" : file->names[0]));
    }
  } else {
    int error = file->type == 'l' ? ELOOP : ENXIO;
    REQUIRE(ErrorOf(nodes_->Open(file->ever, O_RDONLY)) == error);
  }
}

void TreeModel::CheckSelf(const Ref& file) {
  if (!IsKnown(file) || file->names.empty()) return;
  auto entry = nodes_->LookupSelf(file->ever);
  CAPTURE(file->names);
  REQUIRE(ErrorOf(entry) == 0);
  Met(file, *entry);
  if (file->type != 'd') return;
  auto parent = nodes_->LookupParent(file->ever);
  REQUIRE(ErrorOf(parent) == 0);
  Ref above =
      file->names[0].empty() ? file : names_.at(ParentOf(file->names[0]));
  Met(above, *parent);
}

void TreeModel::CheckMissing() {
  std::string name = AnyPlace();
  if (!names_.contains(name)) LookUp(name);
}

void TreeModel::CheckAll() {
  std::map<uint64_t, int> shown;
  for (auto& [name, file] : names_) {
    if (file->names[0] != name) continue;
    LookUp(name);
    CheckNode(file);
    struct statx stx;
    REQUIRE(statx(AT_FDCWD, Host(name).c_str(), AT_SYMLINK_NOFOLLOW,
                  STATX_BASIC_STATS, &stx) == 0);
    auto [it, fresh] = shown.try_emplace(nodes_->ShownIno(stx), file->number);
    CAPTURE(name, it->second, file->number);
    REQUIRE(fresh);
  }
  for (const Ref& file : std::vector<Ref>(nameless_)) CheckNode(file);
}

}  // namespace handlefs::test

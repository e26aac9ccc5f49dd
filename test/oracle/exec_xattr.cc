// Extended attributes, among them ACLs and capabilities in their binary form.
#include <linux/capability.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>

#include "exec.h"

namespace oracle {

namespace {

void PutLe(uint64_t v, int bytes, std::string* s) {
  for (int i = 0; i < bytes; i++) {
    s->push_back(static_cast<char>(v >> (8 * i)));
  }
}

void PutAcl(unsigned tag, unsigned perm, uint32_t id, std::string* s) {
  PutLe(tag, 2, s);
  PutLe(perm & 7, 2, s);
  PutLe(id, 4, s);
}

// Bits 0-11 are permissions, 12-15 choose named entries, 16-19 a defect.
std::string MakeAcl(uint32_t val) {
  constexpr uint32_t kNoId = static_cast<uint32_t>(-1);
  uint32_t defect = (val >> 16) & 15;
  std::string s;
  if (defect == 1) return s;
  PutLe(defect == 2 ? 3 : POSIX_ACL_XATTR_VERSION, 4, &s);
  if (defect == 3) return s;
  PutAcl(ACL_USER_OBJ, val, kNoId, &s);
  if (val & (1 << 12)) PutAcl(ACL_USER, val >> 3, 1002, &s);
  if (val & (1 << 13)) PutAcl(ACL_USER, val >> 6, 1003, &s);
  if (defect == 4) PutAcl(ACL_USER, val, 1003, &s);
  PutAcl(ACL_GROUP_OBJ, val >> 3, kNoId, &s);
  if (val & (1 << 14)) PutAcl(ACL_GROUP, val >> 9, 2002, &s);
  if (val & (1 << 15)) PutAcl(ACL_GROUP, val >> 6, 2001, &s);
  bool named = (val & (15 << 12)) != 0;
  if (named && defect != 5) PutAcl(ACL_MASK, val >> 4, kNoId, &s);
  if (defect != 6) PutAcl(ACL_OTHER, val >> 6, kNoId, &s);
  if (defect == 7) s.resize(s.size() - 1);
  return s;
}

std::string MakeCapability(uint32_t val) {
  std::string s;
  PutLe(VFS_CAP_REVISION_2 | ((val & 1) ? VFS_CAP_FLAGS_EFFECTIVE : 0), 4, &s);
  PutLe(1u << (val % 30), 4, &s);
  PutLe(0, 4, &s);
  PutLe(0, 4, &s);
  PutLe(0, 4, &s);
  return s;
}

std::string MakeValue(const Op& op) {
  const std::string& name = XattrName(op.mode);
  if (name.rfind("system.", 0) == 0) return MakeAcl(op.val);
  if (name == "security.capability" && op.n != 1) return MakeCapability(op.val);
  std::string s(std::min<size_t>(op.n, 100000), '\0');
  for (size_t i = 0; i < s.size(); i++) {
    s[i] = static_cast<char>(op.val + i * 7);
  }
  return s;
}

std::string SortedNames(const char* list, size_t n) {
  std::vector<std::string> names;
  for (size_t at = 0; at < n;) {
    size_t len = strnlen(list + at, n - at);
    names.emplace_back(list + at, len);
    at += len + 1;
  }
  std::sort(names.begin(), names.end());
  std::string s;
  for (const std::string& name : names) s += name + " ";
  return s;
}

}  // namespace

void Exec::Setxattr(const Op& op) {
  const char* name = XattrName(op.mode).c_str();
  std::string value = MakeValue(op);
  std::string path = PathBytes(op.p);
  int flags = static_cast<int>(op.flags & 3);
  int ret;
  if (op.p.IsFd()) {
    ret = fsetxattr(DirFd(op.p), name, value.data(), value.size(), flags);
  } else if ((op.flags & kNoFollow) != 0) {
    ret = lsetxattr(path.c_str(), name, value.data(), value.size(), flags);
  } else {
    ret = setxattr(path.c_str(), name, value.data(), value.size(), flags);
  }
  Ret(Err(ret));
}

void Exec::Getxattr(const Op& op) {
  const char* name = XattrName(op.mode).c_str();
  std::string path = PathBytes(op.p);
  size_t n = std::min<size_t>(op.n, kMaxIo);
  ssize_t ret;
  if (op.p.IsFd()) {
    ret = fgetxattr(DirFd(op.p), name, buffer_, n);
  } else if ((op.flags & kNoFollow) != 0) {
    ret = lgetxattr(path.c_str(), name, buffer_, n);
  } else {
    ret = getxattr(path.c_str(), name, buffer_, n);
  }
  Ret(Err(ret));
  if (ret > 0 && n > 0)
    Put(Tag::kData, 0, DataText(buffer_, static_cast<size_t>(ret)));
}

void Exec::Listxattr(const Op& op) {
  std::string path = PathBytes(op.p);
  size_t n = std::min<size_t>(op.n, kMaxIo);
  ssize_t ret;
  if (op.p.IsFd()) {
    ret = flistxattr(DirFd(op.p), buffer_, n);
  } else if ((op.flags & kNoFollow) != 0) {
    ret = llistxattr(path.c_str(), buffer_, n);
  } else {
    ret = listxattr(path.c_str(), buffer_, n);
  }
  Ret(Err(ret));
  if (ret > 0 && n > 0)
    Put(Tag::kXattrs, 0, SortedNames(buffer_, static_cast<size_t>(ret)));
}

void Exec::Rmxattr(const Op& op) {
  const char* name = XattrName(op.mode).c_str();
  std::string path = PathBytes(op.p);
  int ret;
  if (op.p.IsFd()) {
    ret = fremovexattr(DirFd(op.p), name);
  } else if ((op.flags & kNoFollow) != 0) {
    ret = lremovexattr(path.c_str(), name);
  } else {
    ret = removexattr(path.c_str(), name);
  }
  Ret(Err(ret));
}

void Exec::PutXattrs(const std::string& label, const std::string& path) {
  ssize_t n = llistxattr(path.c_str(), buffer_, kMaxIo / 2);
  if (n <= 0) {
    if (n < 0) out_->push_back({Tag::kXattrs, label, Err(n), {}});
    return;
  }
  std::string list(buffer_, static_cast<size_t>(n));
  out_->push_back(
      {Tag::kXattrs, label, 0, SortedNames(list.data(), list.size())});
  std::vector<std::string> names;
  for (size_t at = 0; at < list.size(); at += names.back().size() + 1) {
    names.emplace_back(list.c_str() + at);
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    ssize_t len = lgetxattr(path.c_str(), name.c_str(), buffer_, kMaxIo);
    std::string text = name + " ";
    if (len > 0) text += DataText(buffer_, static_cast<size_t>(len));
    out_->push_back({Tag::kXattr, label, Err(len), text});
  }
}

}  // namespace oracle
